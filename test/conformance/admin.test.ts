/** Admin pages: paths, shapes, errors. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { type Run, conformance } from '../harness/conformance.ts';
import type { Answer } from '../harness/http_request.ts';

/** Pages are looked into freely. */
type Json = ReturnType<typeof JSON.parse>;

async function json(run: Run, path: string): Promise<Json> {
  const answer = await run.admin(path);
  assert.equal(answer.status, 200, `${path}: ${answer.body}`);
  assert.equal(answer.headers['content-type'], 'application/json');
  return JSON.parse(answer.body) as Json;
}

/** Keys, deep; lists by their first element. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])];
  if (typeof value !== 'object' || value === null) return typeof value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, shape(inner)]),
  );
}

function post(run: Run, path: string): Promise<Answer> {
  return run.admin(path, 'POST');
}

conformance(import.meta.filename, {
  rows: ['8.4', '9.1'],
  setUp(directory) {
    const { cert, key } = new TestAuthority('test').issue(
      'URI:spiffe://td/ns/a/sa/b,DNS:example.com,IP:1.2.3.4',
    );
    writeFileSync(join(directory, 'cert.pem'), cert);
    writeFileSync(join(directory, 'key.pem'), key);
    return {};
  },
  cases: {
    'clusters as text: every line of a host and a cluster': async (run) => {
      await run.get('/');
      const { body } = await run.admin('/clusters');
      const app = run.backend('app').port;
      const lines = body.split('\n').filter((line) => line.startsWith('app::'));
      const host = `app::127.0.0.1:${app}`;
      assert.deepEqual(lines.slice(0, 10), [
        'app::observability_name::app',
        'app::default_priority::max_connections::7',
        'app::default_priority::max_pending_requests::1024',
        'app::default_priority::max_requests::1024',
        'app::default_priority::max_retries::3',
        'app::high_priority::max_connections::1024',
        'app::high_priority::max_pending_requests::1024',
        'app::high_priority::max_requests::1024',
        'app::high_priority::max_retries::3',
        'app::added_via_api::false',
      ]);
      for (const line of [
        'cx_total::1',
        'rq_pending_active::0',
        'rq_success::1',
        'rq_total::1',
        'health_flags::healthy',
        'weight::1',
        'region::r1',
        'zone::z1',
        'sub_zone::s1',
        'canary::true',
        'priority::0',
        'success_rate::-1',
      ])
        assert.ok(lines.includes(`${host}::${line}`), line);
      assert.ok(lines.includes('app::127.0.0.1:1::health_flags::/failed_eds_health'));
      assert.ok(lines.includes('app::127.0.0.1:1::hostname::h'));
      const names = lines.filter((line) => line.startsWith(`${host}::`)).map((line) => line.split('::')[2]);
      assert.deepEqual(names.sort(), [
        'canary',
        'cx_active',
        'cx_connect_fail',
        'cx_total',
        'health_flags',
        'hostname',
        'local_origin_success_rate',
        'priority',
        'region',
        'rq_active',
        'rq_error',
        'rq_pending_active',
        'rq_success',
        'rq_timeout',
        'rq_total',
        'sub_zone',
        'success_rate',
        'weight',
        'zone',
      ]);
    },
    'clusters as JSON': async (run) => {
      const { cluster_statuses: list } = await json(run, '/clusters?format=json');
      const app = list.find((one: Json) => one['name'] === 'app');
      assert.deepEqual(shape(app), {
        circuit_breakers: {
          thresholds: [
            {
              max_connections: 'number',
              max_pending_requests: 'number',
              max_requests: 'number',
              max_retries: 'number',
            },
          ],
        },
        host_statuses: [
          {
            address: { socket_address: { address: 'string', port_value: 'number' } },
            health_status: { eds_health_status: 'string' },
            locality: { region: 'string', sub_zone: 'string', zone: 'string' },
            stats: [{ name: 'string' }],
            weight: 'number',
          },
        ],
        name: 'string',
        observability_name: 'string',
      });
      assert.equal(app.circuit_breakers.thresholds[1].priority, 'HIGH');
      const [, second] = app.host_statuses;
      assert.equal(second.hostname, 'h');
      assert.deepEqual(second.health_status, { eds_health_status: 'UNHEALTHY' });
      const stats = app.host_statuses[0].stats.map(({ name, type }: Json) => `${name} ${type}`);
      assert.deepEqual(stats.sort(), [
        'cx_active GAUGE',
        'cx_connect_fail undefined',
        'cx_total undefined',
        'rq_active GAUGE',
        'rq_error undefined',
        'rq_pending_active GAUGE',
        'rq_success undefined',
        'rq_timeout undefined',
        'rq_total undefined',
      ]);
    },
    'clusters by name': async (run) => {
      const { body } = await run.admin('/clusters?filter=oth');
      assert.ok(body.startsWith('other::observability_name::other\n'));
      assert.ok(!body.includes('app::'));
      const bad = await run.admin('/clusters?filter=(');
      assert.equal(bad.status, 400);
      assert.match(bad.body, /^Invalid re2 regex/);
    },
    listeners: async (run) => {
      const { body } = await run.admin('/listeners');
      assert.equal(body, `in::127.0.0.1:${run.port('in')}\nsecure::127.0.0.1:${run.port('secure')}\n`);
      assert.deepEqual(await json(run, '/listeners?format=json'), {
        listener_statuses: ['in', 'secure'].map((name) => ({
          name,
          local_address: { socket_address: { address: '127.0.0.1', port_value: run.port(name) } },
        })),
      });
    },
    'server_info has all fields': async (run) => {
      const info = await json(run, '/server_info');
      assert.deepEqual(Object.keys(info).sort(), [
        'command_line_options',
        'hot_restart_initializing',
        'hot_restart_version',
        'node',
        'state',
        'uptime_all_epochs',
        'uptime_current_epoch',
        'version',
      ]);
      assert.equal(info['state'], 'LIVE');
      assert.match(info['uptime_current_epoch'], /^\d+s$/);
      const options = info['command_line_options'];
      assert.equal(options.concurrency, 1);
      assert.equal(options.drain_time, '600s');
      assert.equal(options.drain_strategy, 'Gradual');
      assert.equal(options.mode, 'Serve');
      assert.equal(options.config_path, join(run.directory, 'bootstrap.yaml'));
      assert.deepEqual(Object.keys(options).sort(), [
        'admin_address_path',
        'allow_unknown_static_fields',
        'base_id',
        'base_id_path',
        'component_log_level',
        'concurrency',
        'config_path',
        'config_yaml',
        'cpuset_threads',
        'disable_hot_restart',
        'disabled_extensions',
        'drain_strategy',
        'drain_time',
        'enable_core_dump',
        'enable_fine_grain_logging',
        'enable_mutex_tracing',
        'file_flush_interval',
        'file_flush_min_size',
        'ignore_unknown_dynamic_fields',
        'local_address_ip_version',
        'log_format',
        'log_format_escaped',
        'log_level',
        'log_path',
        'log_stacktrace_single_entry',
        'mode',
        'parent_shutdown_time',
        'reject_unknown_dynamic_fields',
        'restart_epoch',
        'service_cluster',
        'service_node',
        'service_zone',
        'skip_deprecated_logs',
        'skip_hot_restart_on_no_parent',
        'skip_hot_restart_parent_stats',
        'socket_mode',
        'socket_path',
        'stats_tag',
        'use_dynamic_base_id',
      ]);
      assert.equal(info['node'].id, 'n1');
      assert.deepEqual(info['node'].locality, { region: 'r', zone: 'z', sub_zone: '' });
      assert.ok(info['node'].extensions.length > 10);
    },
    'config_dump: sections in order, secrets redacted': async (run) => {
      const { configs } = await json(run, '/config_dump');
      assert.deepEqual(
        configs.map((config: Json) => config['@type'].split('.').at(-1)),
        [
          'BootstrapConfigDump',
          'ClustersConfigDump',
          'ListenersConfigDump',
          'ScopedRoutesConfigDump',
          'RoutesConfigDump',
          'SecretsConfigDump',
        ],
      );
      const [bootstrap, clusters, listeners, , routes, secrets] = configs;
      assert.equal(bootstrap.bootstrap.node.id, 'n1');
      assert.ok(bootstrap.bootstrap.node.extensions.length > 10);
      assert.deepEqual(
        clusters.static_clusters.map((one: Json) => one['cluster'].name),
        ['app', 'other'],
      );
      assert.deepEqual(
        listeners.static_listeners.map((one: Json) => one['listener'].name),
        ['in', 'secure'],
      );
      assert.deepEqual(
        routes.static_route_configs.map((one: Json) => one['route_config'].name),
        ['routes', 'routes'],
      );
      assert.deepEqual(
        secrets.static_secrets.map(({ secret }: Json) => [
          secret.name,
          secret.tls_certificate,
          secret.generic_secret,
        ]),
        [
          [
            'own',
            {
              certificate_chain: { filename: join(run.directory, 'cert.pem') },
              private_key: { filename: '[redacted]' },
            },
            undefined,
          ],
          ['word', undefined, { secret: { inline_string: '[redacted]' } }],
        ],
      );
      assert.ok(!JSON.stringify(configs).includes('not to be seen'));
    },
    'config_dump: endpoints when asked for': async (run) => {
      const { configs } = await json(run, '/config_dump?include_eds');
      assert.equal(configs[2]['@type'], 'type.googleapis.com/envoy.admin.v3.EndpointsConfigDump');
      assert.deepEqual(
        configs[2].static_endpoint_configs.map((one: Json) => one['endpoint_config'].cluster_name).sort(),
        ['app', 'other'],
      );
    },
    'config_dump: resource, mask and name_regex': async (run) => {
      const names = await json(run, '/config_dump?resource=static_clusters&mask=cluster.name');
      assert.deepEqual(names, {
        configs: ['app', 'other'].map((name) => ({
          '@type': 'type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster',
          cluster: { '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name },
        })),
      });
      assert.deepEqual(await json(run, '/config_dump?mask=bootstrap.node.id'), {
        configs: [
          {
            '@type': 'type.googleapis.com/envoy.admin.v3.BootstrapConfigDump',
            bootstrap: { node: { id: 'n1' } },
          },
        ],
      });
      const one = await json(run, '/config_dump?resource=static_clusters&name_regex=oth.*');
      assert.deepEqual(
        one['configs'].map(({ cluster }: Json) => cluster.name),
        ['other'],
      );
      // The whole name has to match.
      assert.deepEqual(await json(run, '/config_dump?resource=static_clusters&name_regex=oth'), {});
    },
    'config_dump: what is wrong with a request': async (run) => {
      for (const [query, status, body] of [
        ['resource=bogus', 404, /^bogus not found in config dump$/],
        [
          'resource=bootstrap',
          400,
          /^bootstrap is not a repeated field\. Use \?mask=bootstrap to get only this field$/,
        ],
        ['mask=bogus', 400, /^FieldMask bogus could not be successfully applied to any configs\.$/],
        ['mask=static_clusters.cluster.name', 400, /could not be successfully applied to any configs/],
        [
          'resource=static_clusters&mask=bogus',
          400,
          /^FieldMask [^]*bogus[^]*could not be successfully used\.$/,
        ],
        [
          'resource=static_clusters&mask=cluster.load_assignment.endpoints.locality',
          400,
          /successfully used\.$/,
        ],
        ['name_regex=(', 400, /Error while parsing name_regex from \(/],
      ] as const) {
        const answer = await run.admin(`/config_dump?${query}`);
        assert.equal(answer.status, status, query);
        assert.match(answer.body, body);
      }
    },
    'stats: filters, types, formats': async (run) => {
      const name = 'http.in.downstream_rq_total';
      const total = await run.stat(name);
      await run.get('/');
      assert.equal(await run.stat(name), total + 1);
      const only = await run.admin('/stats?filter=^http.in.downstream_rq_total$&type=Gauges');
      assert.equal(only.body, '');
      const answer = await json(run, '/stats?filter=^http.in.downstream_rq_total$&format=json');
      assert.deepEqual(answer, { stats: [{ name, value: total + 1 }] });
      const used = await run.admin('/stats?usedonly&type=Counters&filter=^http.in.');
      assert.ok(used.body.includes(`${name}: `));
      assert.ok(!used.body.includes('idle_timeout'));
      const others = await run.admin('/stats?filter=^http.in.&invert_filter');
      assert.ok(!others.body.includes('http.in.') || others.body.includes('listener.'));
      for (const [query, body] of [
        ['type=bogus', 'invalid &type= param'],
        ['format=bogus', 'usage: /stats?format=(html|active-html|json|prometheus|text)\n\n'],
      ] as const) {
        const bad = await run.admin(`/stats?${query}`);
        assert.equal(bad.status, 400);
        assert.equal(bad.body, body);
      }
      const regex = await run.admin('/stats?filter=(');
      assert.equal(regex.status, 400);
      assert.match(regex.body, /^Invalid re2 regex: /);
    },
    'stats: histograms by quantiles and buckets': async (run) => {
      await run.get('/');
      const name = 'http.in.downstream_rq_time';
      const query = `filter=^${name}$`;
      // Envoy merges histograms of threads at its own times.
      let body = '';
      for (let i = 0; i < 400 && !body.includes('P50'); i++) {
        body = (await run.admin(`/stats?${query}`)).body;
        if (!body.includes('P50')) await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.match(
        body,
        /^http\.in\.downstream_rq_time: P0\(\S+,[\d.]+\) P25\(\S+\) P50\(\S+\) P75\(\S+\) P90\(\S+\) P95\(\S+\) P99\(\S+\) P99\.5\(\S+\) P99\.9\(\S+\) P100\(\S+,[\d.]+\)\n$/,
      );
      const { stats } = await json(run, `/stats?${query}&format=json`);
      assert.deepEqual(stats[0].histograms.supported_quantiles, [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]);
      const [computed] = stats[0].histograms.computed_quantiles;
      assert.equal(computed.name, name);
      assert.equal(computed.values.length, 10);
      assert.equal(typeof computed.values[9].cumulative, 'number');
      const buckets = (await json(run, `/stats?${query}&format=json&histogram_buckets=cumulative`))[
        'stats'
      ][0];
      assert.equal(buckets.histograms[0].buckets[0].upper_bound, 0.5);
      assert.ok(buckets.histograms[0].buckets.at(-1).cumulative >= 1);
      const text = await run.admin(`/stats?${query}&histogram_buckets=cumulative`);
      assert.match(
        text.body,
        /^http\.in\.downstream_rq_time: B0\.5\(\d+,\d+\) B1\(.* B1\.8e\+06\(\d+,\d+\) B3\.6e\+06\(\d+,\d+\)\n$/,
      );
    },
    'stats/prometheus': async (run) => {
      const answer = await run.admin('/stats/prometheus?filter=http.in.downstream_rq_t&usedonly');
      assert.match(answer.headers['content-type'] ?? '', /^text\/plain/);
      assert.match(
        answer.body,
        /# TYPE envoy_http_downstream_rq_total counter\nenvoy_http_downstream_rq_total\{envoy_http_conn_manager_prefix="in"\} \d+\n/,
      );
      assert.match(
        answer.body,
        /envoy_http_downstream_rq_time_bucket\{envoy_http_conn_manager_prefix="in",le="0\.5"\} \d+\n/,
      );
      const same = await run.admin('/stats?format=prometheus&filter=http.in.downstream_rq_total');
      assert.match(same.body, /^# TYPE envoy_http_downstream_rq_total counter\n/);
    },
    reset_counters: async (run) => {
      await run.get('/');
      assert.ok((await run.stat('http.in.downstream_rq_total')) > 0);
      assert.equal((await post(run, '/reset_counters')).body, 'OK\n');
      assert.equal(await run.stat('http.in.downstream_rq_total'), 0);
      await run.get('/');
      assert.equal(await run.stat('http.in.downstream_rq_total'), 1);
    },
    'runtime and runtime_modify': async (run) => {
      const { layers, entries } = await json(run, '/runtime');
      assert.deepEqual(layers, ['static', 'admin']);
      assert.deepEqual(entries, { 'a.b': { final_value: '1', layer_values: ['1', ''] } });
      assert.equal((await post(run, '/runtime_modify?a.b=2&x=y')).body, 'OK\n');
      assert.deepEqual((await json(run, '/runtime'))['entries'], {
        'a.b': { final_value: '2', layer_values: ['1', '2'] },
        x: { final_value: 'y', layer_values: ['', 'y'] },
      });
      await post(run, '/runtime_modify?a.b=&x=');
      assert.deepEqual((await json(run, '/runtime'))['entries'], {
        'a.b': { final_value: '1', layer_values: ['1', ''] },
      });
      assert.equal((await post(run, '/runtime_modify')).status, 400);
      assert.equal((await run.admin('/runtime_modify?x=1')).status, 405);
    },
    'logging: list, all, one, and what is wrong': async (run) => {
      const list = await post(run, '/logging');
      assert.match(list.body, /^active loggers:\n(?: {2}\w+: \w+\n)+\n$/);
      assert.match(list.body, /\n {2}main: \w+\n/);
      assert.match((await post(run, '/logging?main=debug')).body, /\n {2}main: debug\n/);
      assert.match(
        (await post(run, '/logging?paths=main:error,config:warning')).body,
        /config: warning\n[^]* main: error\n/,
      );
      const all = (await post(run, '/logging?level=warning')).body;
      assert.doesNotMatch(all, /: (?:info|error|debug)\n/);
      for (const [query, error] of [
        ['level=nope', 'unknown logger level'],
        ['nobody=debug', 'unknown logger name'],
        ['paths=main:error,nobody:info', 'unknown logger name'],
        ['a=b&c=d', 'invalid number of parameters'],
      ] as const) {
        const answer = await post(run, `/logging?${query}`);
        assert.equal(answer.status, 400, query);
        assert.ok(
          answer.body.startsWith(`error: ${error}\n\nusage: /logging?<name>=<level>`),
          answer.body.slice(0, 200),
        );
      }
    },
    certs: async (run) => {
      const { certificates } = await json(run, '/certs');
      const [one] = certificates;
      assert.deepEqual(Object.keys(one).sort(), ['ca_cert', 'cert_chain']);
      const [{ path, serial_number, subject_alt_names, days_until_expiration, valid_from, expiration_time }] =
        one.cert_chain;
      assert.equal(path, join(run.directory, 'cert.pem'));
      assert.match(serial_number, /^[0-9a-f]+$/);
      assert.deepEqual(subject_alt_names.map((name: Json) => JSON.stringify(name)).sort(), [
        '{"dns":"example.com"}',
        '{"ip_address":"1.2.3.4"}',
        '{"uri":"spiffe://td/ns/a/sa/b"}',
      ]);
      assert.match(days_until_expiration, /^\d+$/);
      assert.match(
        `${valid_from} ${expiration_time}`,
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
      );
    },
    memory: async (run) => {
      const memory = await json(run, '/memory');
      assert.deepEqual(shape(memory), {
        allocated: 'string',
        heap_size: 'string',
        pageheap_free: 'string',
        pageheap_unmapped: 'string',
        total_physical_bytes: 'string',
        total_thread_cache: 'string',
      });
    },
    'pages that are off or small': async (run) => {
      assert.equal((await run.admin('/hot_restart_version')).body, 'disabled');
      assert.deepEqual(await json(run, '/init_dump'), {});
      assert.match((await run.admin('/contention')).body, /^Mutex contention tracing is not enabled\./);
      assert.equal((await post(run, '/heapprofiler?enable=y')).status, 501);
      assert.equal((await post(run, '/cpuprofiler')).body, '?enable=<y|n>\n');
      assert.equal((await post(run, '/reopen_logs')).body, 'OK\n');
      assert.equal((await run.admin('/')).headers['content-type'], 'text/html; charset=UTF-8');
    },
    'unknown paths and wrong methods': async (run) => {
      const unknown = await run.admin('/nope');
      assert.equal(unknown.status, 404);
      assert.ok(unknown.body.startsWith('invalid path. admin commands are:\n  /: Admin home page\n'));
      for (const path of [
        '/quitquitquit',
        '/logging',
        '/drain_listeners',
        '/healthcheck/fail',
        '/reset_counters',
        '/reopen_logs',
      ]) {
        const answer = await run.admin(path);
        assert.equal(answer.status, 405, path);
        assert.equal(answer.body, 'Method GET not allowed, POST required.');
      }
      const help = await run.admin('/help');
      for (const path of [
        '/certs',
        '/clusters',
        '/config_dump',
        '/drain_listeners (POST)',
        '/listeners',
        '/stats/prometheus',
      ])
        assert.ok(help.body.includes(`\n  ${path}: `), path);
    },
    'healthcheck/fail and ok': async (run) => {
      assert.equal((await post(run, '/healthcheck/fail')).body, 'OK\n');
      const ready = await run.admin('/ready');
      assert.equal(`${ready.status} ${ready.body}`, '503 DRAINING\n');
      assert.equal((await run.get('/')).headers['connection'], 'close');
      assert.equal(await run.stat('server.live'), 0);
      assert.equal((await post(run, '/healthcheck/ok')).body, 'OK\n');
      assert.equal((await run.admin('/ready')).body, 'LIVE\n');
    },
    'drain_listeners: inbound ones alone, then all': async (run) => {
      await post(run, '/drain_listeners?inboundonly');
      await gone(run, 'secure');
      assert.equal((await run.get('/')).status, 200);
      await post(run, '/drain_listeners');
      await gone(run, 'in');
    },
    'quitquitquit ends it': async (run) => {
      assert.equal((await post(run, '/quitquitquit')).body, 'OK\n');
      for (let i = 0; ; i++) {
        if (
          await run.admin('/ready').then(
            () => false,
            () => true,
          )
        )
          break;
        assert.ok(i < 250, 'it still answers');
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  },
});

/** Waits until nothing listens on a port of the YAML. */
async function gone(run: Run, name: string): Promise<void> {
  const { connect } = await import('node:net');
  const refused = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(run.port(name), '127.0.0.1');
      socket.once('connect', () => {
        socket.destroy();
        resolve(false);
      });
      socket.once('error', () => resolve(true));
    });
  for (let i = 0; !(await refused()); i++) {
    assert.ok(i < 250, `${name} still accepts`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
