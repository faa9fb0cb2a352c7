import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { CorsPolicySchema } from '#api/gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts';
import { listen, startProxy, type TestProxy } from '../../network/http_connection_manager/testing.ts';
import { cors } from './config.ts';
import { compileCorsPolicy } from './cors.ts';

const upstream = createServer((_request, response) => response.end('real'));
let proxy: TestProxy;
let random = 0;

const policy = {
  '@type': 'type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy',
  allow_origin_string_match: [
    { exact: 'https://a.example' },
    { safe_regex: { regex: 'https://[a-z]+\\.b\\.example' } },
  ],
  allow_methods: 'GET,POST',
  allow_headers: 'x-a',
  expose_headers: 'x-b',
  max_age: '600',
  allow_credentials: true,
};

before(async () => {
  const port = await listen(upstream);
  proxy = await startProxy({
    clusters: { a: [port] },
    random: () => random,
    filters: [cors],
    hcm: {
      http_filters: [
        {
          name: 'envoy.filters.http.cors',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors' },
        },
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
        },
      ],
    },
    routes: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            {
              match: { prefix: '/strict' },
              route: { cluster: 'a' },
              typed_per_filter_config: {
                'envoy.filters.http.cors': { ...policy, forward_not_matching_preflights: false },
              },
            },
            {
              match: { prefix: '/any' },
              route: { cluster: 'a' },
              typed_per_filter_config: {
                'envoy.filters.http.cors': {
                  '@type': policy['@type'],
                  allow_origin_string_match: [{ exact: '*' }],
                  allow_methods: '*',
                  allow_headers: '*',
                  allow_private_network_access: true,
                },
              },
            },
            {
              match: { prefix: '/half' },
              route: { cluster: 'a' },
              typed_per_filter_config: {
                'envoy.filters.http.cors': {
                  ...policy,
                  filter_enabled: { default_value: { numerator: 50 } },
                  shadow_enabled: { default_value: { numerator: 100 } },
                },
              },
            },
            {
              match: { prefix: '/moved' },
              redirect: { path_redirect: '/' },
              typed_per_filter_config: { 'envoy.filters.http.cors': policy },
            },
            {
              match: { prefix: '/' },
              route: { cluster: 'a' },
              typed_per_filter_config: { 'envoy.filters.http.cors': policy },
            },
          ],
        },
      ],
    },
  });
});
after(() => {
  proxy.close();
  upstream.close();
});

async function ask(path: string, method: string, headers: Record<string, string>): Promise<Response> {
  const response = await fetch(`http://127.0.0.1:${proxy.port}${path}`, {
    method,
    headers: { connection: 'close', ...headers },
    redirect: 'manual',
  });
  return response;
}

test('a preflight of a known origin is answered here', async () => {
  for (const origin of ['https://a.example', 'https://x.b.example']) {
    const response = await ask('/', 'OPTIONS', { origin, 'access-control-request-method': 'GET' });
    assert.equal(response.status, 200);
    assert.equal(await response.text(), '');
    assert.equal(response.headers.get('access-control-allow-origin'), origin);
    assert.equal(response.headers.get('access-control-allow-credentials'), 'true');
    assert.equal(response.headers.get('access-control-allow-methods'), 'GET,POST');
    assert.equal(response.headers.get('access-control-allow-headers'), 'x-a');
    assert.equal(response.headers.get('access-control-max-age'), '600');
  }
});

test('a preflight of an unknown origin goes upstream, or ends here without rights', async () => {
  const headers = { origin: 'https://evil.example', 'access-control-request-method': 'GET' };
  const forwarded = await ask('/', 'OPTIONS', headers);
  assert.equal(await forwarded.text(), 'real');
  assert.equal(forwarded.headers.get('access-control-allow-origin'), null);
  const ended = await ask('/strict', 'OPTIONS', headers);
  assert.equal(await ended.text(), '');
  assert.equal(ended.headers.get('access-control-allow-origin'), null);
});

test('a plain request gets what its page may read', async () => {
  const allowed = await ask('/', 'GET', { origin: 'https://a.example' });
  assert.equal(await allowed.text(), 'real');
  assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://a.example');
  assert.equal(allowed.headers.get('access-control-expose-headers'), 'x-b');
  for (const headers of [{}, { origin: 'https://evil.example' }, { origin: 'https://evil.a.example' }]) {
    const other = await ask('/', 'GET', headers as Record<string, string>);
    assert.equal(await other.text(), 'real');
    assert.equal(other.headers.get('access-control-allow-origin'), null);
  }
});

test('a policy of stars echoes what the preflight asks for', async () => {
  const ask1 = { origin: 'null', 'access-control-request-method': 'PATCH' };
  const plain = await ask('/any', 'OPTIONS', ask1);
  assert.equal(plain.headers.get('access-control-allow-origin'), 'null');
  assert.equal(plain.headers.get('access-control-allow-methods'), 'PATCH');
  assert.equal(plain.headers.get('access-control-allow-headers'), '');
  assert.equal(plain.headers.get('access-control-allow-private-network'), null);
  assert.equal(plain.headers.get('access-control-allow-credentials'), null);
  const local = await ask('/any', 'OPTIONS', {
    ...ask1,
    'access-control-request-headers': 'x-1,x-2',
    'access-control-request-private-network': 'true',
  });
  assert.equal(local.headers.get('access-control-allow-headers'), 'x-1,x-2');
  assert.equal(local.headers.get('access-control-allow-private-network'), 'true');
  const noPreflight = await ask('/any', 'OPTIONS', { origin: 'null' });
  assert.equal(await noPreflight.text(), 'real');
});

test('a share of requests is enforced, the rest only counted; redirects are left alone', async () => {
  const counts = (): string =>
    proxy.metrics
      .snapshot()
      .filter(({ name }) => name.startsWith('envoy_http_cors_'))
      .flatMap(({ series }) => series.map(({ value }) => value))
      .join();
  const origin = { origin: 'https://a.example' };
  const start = counts();
  random = 0.6;
  const shadowed = await ask('/half', 'GET', origin);
  assert.equal(shadowed.headers.get('access-control-allow-origin'), null);
  assert.notEqual(counts(), start);
  random = 0.4;
  const enforced = await ask('/half', 'GET', origin);
  assert.equal(enforced.headers.get('access-control-allow-origin'), origin.origin);
  const seen = counts();
  const moved = await ask('/moved', 'GET', origin);
  assert.equal(moved.status, 301);
  assert.equal(moved.headers.get('access-control-allow-origin'), null);
  assert.equal(counts(), seen);
});

const badPolicies: readonly [name: string, matcher: JsonValue, error: RegExp][] = [
  ['a regex that RE2 refuses', { safe_regex: { regex: '(?=a)' } }, /allow_origin_string_match\[1\]: regex/],
  ['a matcher without pattern', {}, /allow_origin_string_match\[1\]: string matcher without pattern/],
];
for (const [name, matcher, error] of badPolicies)
  test(`refused: ${name}`, () => {
    const json = { allow_origin_string_match: [{ exact: 'a' }, matcher] };
    assert.throws(() => compileCorsPolicy(fromJson(CorsPolicySchema, json)), error);
  });
