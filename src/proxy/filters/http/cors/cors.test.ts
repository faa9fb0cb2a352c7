import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { listen, startProxy, type TestProxy } from '../../network/http_connection_manager/testing.ts';
import { cors } from './config.ts';

const upstream = createServer((_request, response) => response.end('real'));
let proxy: TestProxy;

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
