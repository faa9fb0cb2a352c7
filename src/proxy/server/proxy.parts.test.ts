import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import type { JsonValue } from '@bufbuild/protobuf';
import { toPrometheusText } from '#telemetry/prometheus_text.ts';
import { typeUrls } from '#xds/type_url.ts';
import { startProxy } from './main.ts';
import type { ProxyHandle, ProxyOptions } from './proxy_handle.ts';
import { ProxyServer } from './proxy_server.ts';
import {
  KeepAliveClient,
  LogLines,
  TestControlPlane,
  assignment,
  bootstrapOf,
  edsCluster,
  freePort,
  get,
  httpListener,
  routesTo,
  serve,
  startApplication,
  startOn,
  until,
} from './testing.ts';

const app = await startApplication('app');
after(() => {
  app.server.close();
  app.server.closeAllConnections();
});

const directory = mkdtempSync(join(tmpdir(), 'trysail-proxy-'));
after(() => rmSync(directory, { recursive: true }));

/** One listener to one static cluster, with a file as access log. */
function staticBootstrap(port: number, more: Record<string, JsonValue> = {}): JsonValue {
  const listener = httpListener('in', port, 'none') as {
    filter_chains: { filters: { typed_config: Record<string, JsonValue> }[] }[];
  };
  const manager = listener.filter_chains[0]!.filters[0]!.typed_config;
  delete manager['rds'];
  manager['route_config'] = {
    name: 'static',
    virtual_hosts: [
      { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'app' } }] },
    ],
  };
  manager['access_log'] = [
    {
      name: 'file',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
        path: join(directory, `access-${port}.log`),
        log_format: {
          text_format_source: { inline_string: '%REQ(:PATH)% %RESPONSE_CODE% %ENVIRONMENT(POD)%\n' },
        },
      },
    },
  ];
  return {
    node: { id: 'sidecar~1.1.1.1~a.b~b.svc.cluster.local' },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    static_resources: {
      listeners: [listener as unknown as JsonValue],
      clusters: [
        {
          name: 'app',
          type: 'STATIC',
          connect_timeout: '1s',
          load_assignment: assignment('app', app.port),
        },
      ],
      ...more,
    },
  };
}

async function startStatic(
  options: Partial<ProxyOptions> = {},
): Promise<{ proxy: ProxyHandle; port: number; admin: string }> {
  const port = await freePort();
  const proxy = await startProxy({
    bootstrap: bootstrapOf(staticBootstrap(port)),
    concurrency: 1,
    inline: true,
    log: new LogLines().logger,
    ...options,
  });
  return { proxy, port, admin: `http://${proxy.adminAddress}` };
}

for (const inline of [false, true]) {
  test(`a static bootstrap serves, logs and counts (${inline ? 'main thread' : 'thread'})`, async () => {
    const { proxy, port } = await startStatic({ inline, environment: { POD: 'p1' } });
    try {
      assert.equal(proxy.ready(), true);
      assert.equal(proxy.readyReason(), '');
      assert.equal(await get(port, '/x'), '200 app');
      const text = toPrometheusText(await proxy.stats());
      assert.match(text, /^envoy_cluster_upstream_rq_total\{cluster_name="app"\} 1$/m);
      assert.match(text, /^envoy_server_live 1$/m);
      const client = connect(port, '127.0.0.1');
      await until(async () => (await proxy.activeConnections()) >= 1, 'an open connection');
      client.destroy();
    } finally {
      await proxy.close();
    }
    assert.equal(readFileSync(join(directory, `access-${port}.log`), 'utf8'), '/x 200 p1\n');
    assert.equal(await proxy.exited, undefined);
    await assert.rejects(get(port));
  });
}

test('a bad bootstrap is refused, and says which part', async () => {
  const cases: [JsonValue, RegExp][] = [
    [
      { static_resources: { clusters: [{ name: 'a', type: 'EDS' }] } },
      /cluster a: eds_cluster_config.eds_config is not set/,
    ],
    [{ static_resources: { clusters: [{ name: 'a' }, { name: 'a' }] } }, /two static clusters named a/],
    [
      { static_resources: { listeners: [{ name: 'l', filter_chains: [{ filters: [{ name: 'nope' }] }] }] } },
      /listener l: /,
    ],
  ];
  for (const [json, message] of cases) {
    const starting = startProxy({
      bootstrap: bootstrapOf(json),
      concurrency: 1,
      inline: true,
      log: new LogLines().logger,
    });
    await assert.rejects(starting, message);
  }
});

async function page(admin: string, path: string, method = 'GET'): Promise<{ status: number; body: string }> {
  const response = await fetch(`${admin}${path}`, { method });
  return { status: response.status, body: await response.text() };
}

test('admin pages', async () => {
  const { proxy, port, admin } = await startStatic();
  try {
    assert.equal(await get(port), '200 app');
    assert.deepEqual(await page(admin, '/ready'), { status: 200, body: 'LIVE\n' });
    assert.equal((await page(admin, '/listeners')).body, `in::127.0.0.1:${port}\n`);
    const clusters = JSON.parse((await page(admin, '/clusters?format=json')).body);
    assert.equal(clusters.cluster_statuses[0].name, 'app');
    assert.deepEqual(clusters.cluster_statuses[0].host_statuses[0].address, {
      socket_address: { address: '127.0.0.1', port_value: app.port },
    });
    assert.match((await page(admin, '/clusters')).body, /^app::127.0.0.1:\d+::rq_total::1$/m);
    assert.match((await page(admin, '/stats?filter=rq_total')).body, /^cluster\.app\.upstream_rq_total: 1$/m);
    assert.match((await page(admin, '/stats/prometheus')).body, /^envoy_cluster_upstream_rq_total\{/m);
    assert.equal(JSON.parse((await page(admin, '/server_info')).body).state, 'LIVE');
    assert.ok(Number(JSON.parse((await page(admin, '/memory')).body).allocated) > 1e6);
    assert.equal((await page(admin, '/logging?level=debug')).status, 405);
    assert.match((await page(admin, '/logging?level=debug', 'POST')).body, /proxy: debug/);
    assert.equal((await page(admin, '/logging?level=loud', 'POST')).status, 400);
    assert.equal((await page(admin, '/nope')).status, 404);
    assert.match((await page(admin, '/help')).body, /\/config_dump: /);
    await page(admin, '/healthcheck/fail', 'POST');
    assert.deepEqual(await page(admin, '/ready'), { status: 503, body: 'DRAINING\n' });
    await page(admin, '/healthcheck/ok', 'POST');
    assert.equal((await page(admin, '/ready')).status, 200);
    await page(admin, '/quitquitquit', 'POST');
    assert.equal(await proxy.exited, undefined);
  } finally {
    await proxy.close();
  }
});

/** Body of an answer, whatever the certificate. */
async function curl(url: string): Promise<string> {
  return (await promisify(execFile)('curl', ['-sk', '-m', '5', url])).stdout;
}

/** A certificate with its key, PEM. */
function makeCertificate(): { cert: string; key: string } {
  const key = join(directory, 'key.pem');
  const cert = join(directory, 'cert.pem');
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const names = ['-subj', '/O=test', '-addext', 'subjectAltName=URI:spiffe://td/ns/a/sa/b', '-days', '2'];
  execFileSync('openssl', [...args, ...names, '-keyout', key, '-out', cert], { stdio: 'pipe' });
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

test('secrets come by SDS, a listener waits for them, dumps and pages do not show them', async () => {
  const plane = new TestControlPlane();
  const port = await freePort();
  const { cert, key } = makeCertificate();
  serve(plane, port, 'app', app.port);
  const listener = httpListener('in', port, 'routes') as { filter_chains: Record<string, JsonValue>[] };
  listener.filter_chains[0]!['transport_socket'] = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      common_tls_context: {
        tls_certificate_sds_secret_configs: [
          { name: 'default', sds_config: { ads: {}, resource_api_version: 'V3' } },
        ],
      },
    },
  };
  await plane.set(typeUrls.lds, 'in', listener as unknown as JsonValue).push();
  const { proxy } = await startOn(plane, 'delta');
  try {
    await until(() => proxy.readyReason().includes('wait for routes or secrets: in'), 'the reason');
    const secret = (certificate: string): JsonValue => ({
      name: 'default',
      tls_certificate: {
        certificate_chain: { inline_string: certificate },
        private_key: { inline_string: key },
      },
    });
    await plane.set(typeUrls.sds, 'default', secret('not a certificate')).push();
    await until(() => plane.nacks.length === 1, 'the refusal');
    assert.match(plane.nacks[0]!, /^default: /);
    await plane.set(typeUrls.sds, 'default', secret(cert)).push();
    await until(() => proxy.ready(), 'ready');
    assert.equal(await curl(`https://127.0.0.1:${port}/`), 'app');
    // A reply that is made between two events of the socket: head and body are two writes on the TLS handle.
    const silent = createServer(() => {});
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const routes = routesTo('routes', 'app') as { virtual_hosts: { routes: { route: object }[] }[] };
    routes.virtual_hosts[0]!.routes[0]!.route = { cluster: 'app', timeout: '0.2s' };
    plane.set(typeUrls.eds, 'app', assignment('app', (silent.address() as AddressInfo).port));
    await plane.set(typeUrls.rds, 'routes', routes as unknown as JsonValue).push();
    await until(
      async () => (await curl(`https://127.0.0.1:${port}/`)) === 'upstream request timeout',
      'the timeout of the route',
    );
    silent.close();
    silent.closeAllConnections();
    const admin = `http://${proxy.adminAddress}`;
    const dump = (await page(admin, '/config_dump?include_eds')).body;
    assert.ok(!dump.includes('PRIVATE KEY'));
    assert.ok(!dump.includes(Buffer.from(key).toString('base64').slice(0, 60)));
    const sections = JSON.parse(dump).configs.map((config: { '@type': string }) =>
      config['@type'].split('.').at(-1),
    );
    assert.deepEqual(sections, [
      'BootstrapConfigDump',
      'ClustersConfigDump',
      'EndpointsConfigDump',
      'ListenersConfigDump',
      'ScopedRoutesConfigDump',
      'RoutesConfigDump',
      'SecretsConfigDump',
    ]);
    assert.match(dump, /"private_key": \{\s*"inline_string": "\[redacted\]"/);
    const certs = JSON.parse((await page(admin, '/certs')).body);
    assert.deepEqual(certs.certificates[0].cert_chain[0].subject_alt_names, [
      { uri: 'spiffe://td/ns/a/sa/b' },
    ]);
  } finally {
    await proxy.close();
  }
});

test('the dump shows what was refused, and what is asked for by name', async () => {
  const plane = new TestControlPlane();
  const port = await freePort();
  await serve(plane, port, 'app', app.port).push();
  const { proxy } = await startOn(plane, 'delta');
  try {
    await until(() => proxy.ready(), 'ready');
    await plane.set(typeUrls.cds, 'bad', { name: 'bad', type: 'EDS' }).push();
    await until(() => plane.nacks.length > 0, 'the refusal');
    const admin = `http://${proxy.adminAddress}`;
    const { configs } = JSON.parse((await page(admin, '/config_dump?resource=dynamic_active_clusters')).body);
    const bad = configs.find((config: { error_state?: object }) => config.error_state !== undefined);
    assert.match(bad.error_state.details, /eds_config is not set/);
    assert.equal(configs.length, 2);
  } finally {
    await proxy.close();
  }
});

test('a worker that dies is replaced and serves the same, several workers share the port', async () => {
  const plane = new TestControlPlane();
  const port = await freePort();
  await serve(plane, port, 'app', app.port).push();
  const { proxy, log } = await startOn(plane, 'delta', { concurrency: 2 });
  try {
    await until(() => proxy.ready(), 'ready');
    for (let i = 0; i < 20; i++) assert.equal(await get(port), '200 app');
    assert.ok(proxy instanceof ProxyServer);
    proxy.pool.kill(0, new Error('for the test'));
    await until(() => proxy.pool.replaced === 1, 'the replacement');
    await until(async () => {
      const listeners = await proxy.pool.ask('listeners');
      return listeners.length === 2 && listeners.every((list) => list.length === 1);
    }, 'both workers listen');
    // Whichever worker takes the connection.
    for (let i = 0; i < 40; i++) assert.equal(await get(port), '200 app');
    assert.ok(log.lines.some((line) => line.includes('worker is replaced') && line.includes('for the test')));
    // Later updates reach the new worker too.
    const other = await startApplication('other');
    await plane.set(typeUrls.eds, 'app', assignment('app', other.port)).push();
    await until(async () => {
      for (let i = 0; i < 20; i++) if ((await get(port)) !== '200 other') return false;
      return true;
    }, 'the new endpoint in both workers');
    other.server.close();
    other.server.closeAllConnections();
  } finally {
    await proxy.close();
  }
});

test('draining lets connections go and goes on accepting', async () => {
  const plane = new TestControlPlane();
  const port = await freePort();
  const listener = httpListener('in', port, 'routes', { listener: { traffic_direction: 'INBOUND' } });
  await serve(plane, port, 'app', app.port).set(typeUrls.lds, 'in', listener).push();
  const { proxy } = await startOn(plane, 'sotw');
  try {
    await until(() => proxy.ready(), 'ready');
    const client = new KeepAliveClient(port);
    await until(() => client.answers.size > 0, 'an answer');
    await proxy.drain();
    assert.equal(proxy.ready(), false);
    assert.equal(proxy.readyReason(), 'the proxy drains');
    await until(() => client.closed, 'the end of the connection');
    assert.deepEqual(
      [...client.answers.keys()].filter((answer) => answer !== 'closed'),
      ['200 app'],
    );
    assert.equal(await get(port), '200 app');
  } finally {
    await proxy.close();
  }
});

test('a cluster that is named by no resource is missing, not an error of the push', async () => {
  const plane = new TestControlPlane();
  const port = await freePort();
  serve(plane, port, 'app', app.port).set(typeUrls.cds, 'unused', edsCluster('unused'));
  plane.set(typeUrls.eds, 'unused', assignment('unused', app.port));
  await plane.push();
  const { proxy } = await startOn(plane, 'sotw');
  try {
    await until(() => proxy.ready(), 'ready');
    await plane.remove(typeUrls.cds, 'app').push();
    await until(async () => (await get(port)).startsWith('503'), 'the missing cluster');
    assert.deepEqual(plane.nacks, []);
  } finally {
    await proxy.close();
  }
});
