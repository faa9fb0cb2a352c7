/** Authorization: every matcher that Istio's policies become, shadow rules, what a denial says, TCP. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { type Run, conformance } from '../harness/conformance.ts';
import { TcpServers, converse } from '../harness/tcp_client.ts';

const mesh = new TestAuthority('mesh');
after(() => mesh.close());
const server = mesh.issue('DNS:server.example.com');
const client = mesh.issue('URI:spiffe://cluster.local/ns/a/sa/client', '/O=acme/CN=client');
const tcp = new TcpServers();

/** Ways to come: how a request is made; the policy is the path. */
const comers = {
  plain: {},
  post: { method: 'POST' },
  headers: { headers: ['x-env: prod', 'x-claim: admin', 'x-list: a', 'x-list: b'] },
  other: { headers: ['x-env: development', 'x-claim: guest'], host: 'b.example.com:8080' },
  far: { headers: ['x-forwarded-for: 10.1.2.3'] },
  deep: { path: '/info/v1/list/all?x=1' },
  query: { path: '?y=/info' },
  mutual: { tls: true, identity: true, servername: 'a.example.com' },
  nobody: { tls: true, identity: false, servername: 'b.example.com' },
} as const satisfies Record<string, Comer>;

interface Comer {
  readonly method?: string;
  readonly headers?: readonly string[];
  readonly host?: string;
  /** Behind the policy's path. */
  readonly path?: string;
  readonly tls?: boolean;
  readonly identity?: boolean;
  readonly servername?: string;
}

type Name = keyof typeof comers;
const everybody = Object.keys(comers) as Name[];
const but = (...names: Name[]): Name[] => everybody.filter((name) => !names.includes(name));

const header = (name: string, match: object): object => ({ header: { name, ...match } });
const may = (...permissions: object[]): object => ({ permissions, principals: [{ any: true }] });
const from = (...principals: object[]): object => ({ permissions: [{ any: true }], principals });
const path = (match: object): object => may({ url_path: { path: match } });
const template = (text: string): object =>
  may({
    uri_template: {
      name: 'uri-template',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
        path_template: text,
      },
    },
  });
const claim = (value: object): object => ({
  metadata: { filter: 'claims', path: [{ key: 'role' }], value },
});
const principal = (match: object): object => from({ authenticated: { principal_name: match } });
const range = (address_prefix: string, prefix_len: number): object => ({ address_prefix, prefix_len });

/** Policies of ALLOW rules by route, and who may come. */
const policies: Readonly<Record<string, readonly [policy: object, admitted: readonly Name[]]>> = {
  any: [may({ any: true }), everybody],
  method: [may(header(':method', { string_match: { exact: 'POST' } })), ['post']],
  method_not: [may({ not_rule: header(':method', { string_match: { exact: 'POST' } }) }), but('post')],
  host: [
    may(header(':authority', { string_match: { exact: 'B.example.com:8080', ignore_case: true } })),
    ['other'],
  ],
  host_suffix: [may(header(':authority', { string_match: { suffix: '.example.com:8080' } })), ['other']],
  header: [may(header('x-env', { string_match: { exact: 'prod' } })), ['headers']],
  header_prefix: [may(header('x-env', { string_match: { prefix: 'dev' } })), ['other']],
  header_regex: [
    may(header('x-env', { string_match: { safe_regex: { regex: 'pr.d|dev.*' } } })),
    ['headers', 'other'],
  ],
  header_present: [may(header('x-env', { present_match: true })), ['headers', 'other']],
  header_absent: [may(header('x-env', { present_match: false })), but('headers', 'other')],
  header_inverted: [may(header('x-env', { invert_match: true, string_match: { exact: 'prod' } })), ['other']],
  header_default: [
    may(header('x-env', { string_match: { exact: '' }, treat_missing_header_as_empty: true })),
    but('headers', 'other'),
  ],
  // Each of the values by itself.
  header_list: [may(header('x-list', { string_match: { exact: 'a,b' } })), []],
  header_list_one: [may(header('x-list', { string_match: { exact: 'b' } })), ['headers']],
  header_list_inverted: [may(header('x-list', { invert_match: true, string_match: { exact: 'b' } })), []],
  header_list_inverted_both: [
    may(header('x-list', { invert_match: true, string_match: { safe_regex: { regex: 'a|b' } } })),
    [],
  ],
  header_list_not: [may({ not_rule: header('x-list', { string_match: { exact: 'b' } }) }), but('headers')],
  path_exact: [path({ exact: '/path_exact' }), but('deep')],
  path_prefix: [path({ prefix: '/path_prefix/info' }), ['deep']],
  path_suffix: [path({ suffix: '/all' }), ['deep']],
  path_contains: [path({ contains: 'v1' }), ['deep']],
  path_regex: [path({ safe_regex: { regex: '/path_regex/.*/list/[a-z]+' } }), ['deep']],
  template_one: [template('/template_one/info/*/list/*'), ['deep']],
  template_many: [template('/template_many/**'), ['deep']],
  template_end: [template('/template_end/**/all'), ['deep']],
  template_short: [template('/template_short/*'), []],
  port: [may({ destination_port: 1 }), []],
  port_range: [may({ destination_port_range: { start: 1, end: 65536 } }), everybody],
  destination: [may({ destination_ip: range('127.0.0.0', 8) }), everybody],
  destination_other: [may({ destination_ip: range('127.0.0.2', 32) }), []],
  direct: [from({ direct_remote_ip: range('127.0.0.1', 32) }), everybody],
  source: [from({ source_ip: range('127.0.0.1', 32) }), everybody],
  remote: [from({ remote_ip: range('10.1.0.0', 16) }), ['far']],
  remote_not: [from({ not_id: { remote_ip: range('10.1.0.0', 16) } }), but('far')],
  claim: [from(claim({ string_match: { exact: 'admin' } })), ['headers']],
  claim_present: [from(claim({ present_match: true })), ['headers', 'other']],
  claim_list: [from(claim({ list_match: { one_of: { string_match: { exact: 'admin' } } } })), []],
  claim_or: [
    from(
      claim({
        or_match: { value_matchers: [{ string_match: { exact: 'x' } }, { string_match: { prefix: 'gue' } }] },
      }),
    ),
    ['other'],
  ],
  claim_not: [from({ not_id: claim({ string_match: { exact: 'admin' } }) }), but('headers')],
  authenticated: [from({ authenticated: {} }), ['mutual', 'nobody']],
  principal: [principal({ exact: 'spiffe://cluster.local/ns/a/sa/client' }), ['mutual']],
  namespace: [principal({ safe_regex: { regex: '.*/ns/a/.*' } }), ['mutual']],
  namespace_other: [principal({ safe_regex: { regex: '.*/ns/b/.*' } }), []],
  principal_suffix: [principal({ suffix: '/sa/client' }), ['mutual']],
  principal_any: [principal({ safe_regex: { regex: '.+' } }), ['mutual']],
  server_name: [may({ requested_server_name: { exact: 'a.example.com' } }), ['mutual']],
  server_name_suffix: [may({ requested_server_name: { suffix: '.example.com' } }), ['mutual', 'nobody']],
  server_name_none: [may({ requested_server_name: { exact: '' } }), but('mutual', 'nobody')],
  both: [
    {
      permissions: [
        {
          and_rules: {
            rules: [
              {
                or_rules: { rules: [header(':method', { string_match: { exact: 'POST' } }), { any: true }] },
              },
              { not_rule: { or_rules: { rules: [header('x-env', { present_match: true })] } } },
            ],
          },
        },
      ],
      principals: [
        {
          and_ids: {
            ids: [
              { or_ids: { ids: [{ any: true }] } },
              { not_id: { or_ids: { ids: [{ authenticated: {} }] } } },
            ],
          },
        },
      ],
    },
    but('headers', 'other', 'mutual', 'nobody'),
  ],
};

const perRoute = (rbac: object): object => ({
  'envoy.filters.http.rbac': {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute',
    ...rbac,
  },
});

function routes(): object[] {
  const route = { cluster: 'app' };
  const list: object[] = Object.entries(policies).map(([name, [policy]]) => ({
    match: { path_separated_prefix: `/${name}` },
    route,
    typed_per_filter_config: perRoute({ rbac: { rules: { action: 'ALLOW', policies: { p: policy } } } }),
  }));
  list.push(
    { match: { prefix: '/off' }, route, typed_per_filter_config: perRoute({}) },
    {
      match: { prefix: '/nothing' },
      route,
      typed_per_filter_config: perRoute({ rbac: { rules: { action: 'ALLOW', policies: {} } } }),
    },
    {
      match: { prefix: '/order' },
      route,
      typed_per_filter_config: perRoute({
        rbac: {
          rules: {
            action: 'DENY',
            policies: {
              'ns[b]-policy[z]-rule[0]': may({ any: true }),
              'ns[b]-policy[a b]-rule[0]': may({ any: true }),
            },
          },
        },
      }),
    },
    { match: { prefix: '/' }, route },
  );
  return list;
}

/** Status and body of a request by that comer. */
async function come(run: Run, name: string, who: Comer): Promise<string> {
  const lines = [
    `${who.method ?? 'GET'} /${name}${who.path ?? ''} HTTP/1.1`,
    `host: ${who.host ?? 'a'}`,
    'connection: close',
    'content-length: 0',
    ...(who.headers ?? []),
  ];
  const reply = await converse(run.port(who.tls === true ? 'tls' : 'in'), {
    write: `${lines.join('\r\n')}\r\n\r\n`,
    end: false,
    ...(who.tls === true
      ? { tls: { ...(who.identity === true ? client : {}), servername: who.servername ?? '' } }
      : {}),
  });
  return reply.text.slice(9, 12);
}

let loggedRequests = 0;

/** `RESPONSE_CODE FLAGS DETAILS METADATA` of a request with the path. */
async function logged(run: Run, path: string, method = 'GET'): Promise<string> {
  const target = `${path}?request=${++loggedRequests}`;
  await run.get(target, { method });
  return (await run.lineWith('access.log', `${target} `)).slice(target.length + 1);
}

conformance(import.meta.filename, {
  rows: ['7.5', '7.6', '7.7', '7.8', '7.9', '7.11', '7.12'],
  async setUp(directory) {
    const write = (name: string, text: string): void => writeFileSync(join(directory, name), text);
    write('ca.pem', mesh.cert);
    write('server.pem', server.cert);
    write('server.key', server.key);
    return { routes: JSON.stringify(routes()), tcp_app: await tcp.echo('tcp') };
  },
  tearDown: () => tcp.stop(),
  cases: {
    'who may come, by every kind of rule': async (run) => {
      const wrong: string[] = [];
      for (const [name, [, admitted]] of Object.entries(policies))
        for (const who of everybody) {
          const status = await come(run, name, comers[who]);
          if (status !== (admitted.includes(who) ? '200' : '403')) wrong.push(`${name} ${who} ${status}`);
        }
      assert.deepEqual(wrong, []);
    },
    'a denial: answer, details of the log, shadow rules': async (run) => {
      const denied = await run.get('/x', { method: 'DELETE' });
      assert.deepEqual([denied.status, denied.body], [403, 'RBAC: access denied']);
      assert.equal(denied.headers['content-type'], 'text/plain');
      assert.match(
        await logged(run, '/x', 'DELETE'),
        /^403 - rbac_access_denied_matched_policy\[ns\[a\]-policy\[no_delete\]-rule\[0\]\] \{"istio_dry_run_allow_shadow_engine_result":"denied","own.enforced_effective_policy_id":"ns\[a\]-policy\[no delete\]-rule\[0\]","own.enforced_engine_result":"denied"\}$/,
      );
      const admitted = await logged(run, '/y');
      assert.match(admitted, /^200 - via_upstream \{/);
      assert.deepEqual(JSON.parse(admitted.slice(admitted.indexOf('{'))), {
        istio_dry_run_allow_shadow_effective_policy_id: 'ns[a]-policy[gets]-rule[0]',
        istio_dry_run_allow_shadow_engine_result: 'allowed',
        'own.enforced_engine_result': 'allowed',
      });
    },
    'nothing allowed, the first policy by name, a route without rules': async (run) => {
      assert.equal(
        await logged(run, '/nothing'),
        '403 - rbac_access_denied_matched_policy[none] {"own.enforced_engine_result":"denied"}',
      );
      assert.equal(
        await logged(run, '/order'),
        '403 - rbac_access_denied_matched_policy[ns[b]-policy[a_b]-rule[0]] {"own.enforced_effective_policy_id":"ns[b]-policy[a b]-rule[0]","own.enforced_engine_result":"denied"}',
      );
      assert.equal(await logged(run, '/off', 'DELETE'), '200 - via_upstream -');
    },
    'what is counted': async (run) => {
      const names = [
        'own.policy.ns[a]-policy[no delete]-rule[0].denied',
        'own.allowed',
        'own.denied',
        'istio_dry_run_allow_.shadow_allowed',
        'istio_dry_run_allow_.shadow_denied',
      ];
      const read = (): Promise<number[]> =>
        Promise.all(names.map((name) => run.stat(`http.in.rbac.${name}`)));
      const before = await read();
      await run.get('/count');
      await run.get('/count', { method: 'POST' });
      await run.get('/count', { method: 'DELETE' });
      assert.deepEqual(
        (await read()).map((value, i) => value - (before[i] ?? 0)),
        [1, 2, 1, 1, 2],
      );
    },
    TCP: async (run) => {
      const ask = async (name: string, localAddress: string): Promise<string> =>
        (await converse(run.port(name), { write: 'hi', localAddress })).text;
      assert.equal(await ask('tcp', '127.0.0.1'), 'tcp:hi');
      assert.equal(await ask('tcp', '127.0.0.5'), '');
      assert.equal(await ask('tcp', '127.0.0.6'), 'tcp:hi');
      assert.equal(await ask('tcp_empty', '127.0.0.1'), '');
      const lines = await run.lines('tcp.log', 3);
      const [first = '', second = '', third = ''] = lines;
      assert.equal(first, '- {"istio_dry_run_deny_shadow_engine_result":"allowed"}');
      assert.match(
        second,
        /^rbac_access_denied_matched_policy\[ns\[a\]-policy\[not_from_five\]-rule\[0\]\] \{"istio_dry_run_deny_shadow_engine_result":"allowed"\}$/,
      );
      assert.deepEqual(JSON.parse(third.slice(2)), {
        istio_dry_run_deny_shadow_effective_policy_id: 'ns[a]-policy[six]-rule[0]',
        istio_dry_run_deny_shadow_engine_result: 'denied',
      });
      const counted = [
        'allowed',
        'denied',
        'istio_dry_run_deny_.shadow_allowed',
        'istio_dry_run_deny_.shadow_denied',
      ];
      const values = await Promise.all(counted.map((name) => run.stat(`tcp.rbac.${name}`)));
      assert.deepEqual(values, [2, 1, 2, 1]);
      assert.equal(await run.stat('empty.rbac.denied'), 1);
    },
  },
});
