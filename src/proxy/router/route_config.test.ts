import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { RouteConfigurationSchema } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { RequestHeaderMap, ResponseHeaderMap } from '../http/header_map.ts';
import { AcceptedConnectionInfo } from '../network/connection_info.ts';
import { StreamInfo } from '../stream_info/stream_info.ts';
import { buildRouteTable, matchRoute, type RouteTable } from './route_config.ts';

const registry = createTypeRegistry();

function table(json: JsonValue): RouteTable {
  return buildRouteTable(fromJson(RouteConfigurationSchema, json, { registry }));
}

/** One virtual host for everything with these routes. */
function routes(...list: JsonValue[]): RouteTable {
  return table({ virtual_hosts: [{ name: 'v', domains: ['*'], routes: list }] });
}

function request(url: string, fields: Record<string, string> = {}): RequestHeaderMap {
  const { host, pathname, search, protocol } = new URL(url);
  const headers = new RequestHeaderMap(Object.keys(fields), Object.values(fields));
  headers.method = 'GET';
  headers.authority = host;
  headers.path = pathname + search;
  headers.scheme = protocol.slice(0, -1);
  return headers;
}

function info(): StreamInfo {
  return new StreamInfo(
    new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 80 }, { ip: '10.0.0.2', port: 4000 }),
    'HTTP/1.1',
  );
}

const to = (cluster: string): JsonValue => ({ match: { prefix: '/' }, route: { cluster } });

test('virtual hosts: exact, longest suffix, longest prefix, any', () => {
  const hosts = [
    'a.example',
    '*.example',
    '*-x.example',
    '*.b.example',
    'a.*',
    'a.b.*',
    '*',
    'port.test:8080',
  ];
  const live = table({
    virtual_hosts: hosts.map((domain) => ({ name: domain, domains: [domain], routes: [to(domain)] })),
  });
  for (const [host, cluster] of [
    ['a.example', 'a.example'],
    ['A.EXAMPLE', 'a.example'],
    ['q.example', '*.example'],
    ['q-x.example', '*-x.example'],
    ['z.b.example', '*.b.example'],
    ['a.other', 'a.*'],
    ['a.b.other', 'a.b.*'],
    ['.example', '*'],
    ['a.', '*'],
    ['none', '*'],
    ['port.test:8080', 'port.test:8080'],
    ['port.test', '*'],
    ['a.example:80', 'a.*'],
  ] as const) {
    const headers = request('http://x/');
    headers.authority = host;
    assert.equal(matchRoute(live, headers)?.clusterName, cluster, host);
  }
  assert.throws(
    () =>
      table({
        virtual_hosts: [
          { name: 'a', domains: ['x'] },
          { name: 'b', domains: ['X'] },
        ],
      }),
    /only unique domains/,
  );
});

test('ports are ignored when asked; without a match there is no route', () => {
  const live = table({
    ignore_port_in_host_matching: true,
    virtual_hosts: [{ name: 'v', domains: ['a.example', '[::1]'], routes: [to('c')] }],
  });
  const headers = request('http://a.example:8080/');
  assert.equal(matchRoute(live, headers)?.clusterName, 'c');
  headers.authority = '[::1]:80';
  assert.equal(matchRoute(live, headers)?.clusterName, 'c');
  headers.authority = 'b.example';
  assert.equal(matchRoute(live, headers), undefined);
});

/** A match, a request, whether they meet. */
const matches: readonly (readonly [
  name: string,
  match: JsonValue,
  url: string,
  fields: Record<string, string>,
  hit: boolean,
])[] = [
  ['prefix', { prefix: '/a' }, 'http://h/abc', {}, true],
  ['prefix, other', { prefix: '/a' }, 'http://h/b', {}, false],
  ['prefix, other case', { prefix: '/A', case_sensitive: false }, 'http://h/aB', {}, true],
  ['path', { path: '/a' }, 'http://h/a?x=1', {}, true],
  ['path, longer', { path: '/a' }, 'http://h/a/', {}, false],
  ['path, other case', { path: '/A', case_sensitive: false }, 'http://h/a', {}, true],
  ['separated prefix, same', { path_separated_prefix: '/a' }, 'http://h/a', {}, true],
  ['separated prefix, below', { path_separated_prefix: '/a' }, 'http://h/a/b?q', {}, true],
  ['separated prefix, beside', { path_separated_prefix: '/a' }, 'http://h/ab', {}, false],
  ['regex is for the whole path', { safe_regex: { regex: '/b[io]t' } }, 'http://h/bit?x', {}, true],
  ['regex, part', { safe_regex: { regex: '/b[io]t' } }, 'http://h/bite', {}, false],
  ['regex with flags', { safe_regex: { regex: '(?i)/BIT' } }, 'http://h/bit', {}, true],
  [
    'regex that would backtrack',
    { safe_regex: { regex: '/(a+)+$' } },
    `http://h/${'a'.repeat(40)}b`,
    {},
    false,
  ],
  [
    'header exact',
    { prefix: '/', headers: [{ name: 'X-A', exact_match: '1' }] },
    'http://h/',
    { 'x-a': '1' },
    true,
  ],
  [
    'header string',
    { prefix: '/', headers: [{ name: 'x-a', string_match: { suffix: 'z', ignore_case: true } }] },
    'http://h/',
    { 'x-a': 'xyZ' },
    true,
  ],
  [
    'header absent',
    { prefix: '/', headers: [{ name: 'x-a', string_match: { exact: '1' } }] },
    'http://h/',
    {},
    false,
  ],
  [
    'header absent, inverted',
    { prefix: '/', headers: [{ name: 'x-a', string_match: { exact: '1' }, invert_match: true }] },
    'http://h/',
    {},
    false,
  ],
  [
    'header absent counts as empty',
    {
      prefix: '/',
      headers: [
        {
          name: 'x-a',
          string_match: { exact: '1' },
          invert_match: true,
          treat_missing_header_as_empty: true,
        },
      ],
    },
    'http://h/',
    {},
    true,
  ],
  [
    'header present',
    { prefix: '/', headers: [{ name: 'x-a', present_match: true }] },
    'http://h/',
    { 'x-a': '' },
    true,
  ],
  [
    'header must be absent',
    { prefix: '/', headers: [{ name: 'x-a', present_match: false }] },
    'http://h/',
    {},
    true,
  ],
  [
    'header present, inverted',
    { prefix: '/', headers: [{ name: 'x-a', present_match: true, invert_match: true }] },
    'http://h/',
    { 'x-a': '1' },
    false,
  ],
  [
    'header range',
    { prefix: '/', headers: [{ name: 'x-a', range_match: { start: '-5', end: '10' } }] },
    'http://h/',
    { 'x-a': '9' },
    true,
  ],
  [
    'header range end',
    { prefix: '/', headers: [{ name: 'x-a', range_match: { start: '-5', end: '10' } }] },
    'http://h/',
    { 'x-a': '10' },
    false,
  ],
  [
    'header range, no number',
    { prefix: '/', headers: [{ name: 'x-a', range_match: { start: '-5', end: '10' } }] },
    'http://h/',
    { 'x-a': '9a' },
    false,
  ],
  [
    'pseudo header',
    { prefix: '/', headers: [{ name: ':method', string_match: { exact: 'GET' } }] },
    'http://h/',
    {},
    true,
  ],
  [
    'query',
    { prefix: '/', query_parameters: [{ name: 'q', string_match: { exact: '1' } }] },
    'http://h/?a=2&q=1',
    {},
    true,
  ],
  [
    'query, other',
    { prefix: '/', query_parameters: [{ name: 'q', string_match: { exact: '1' } }] },
    'http://h/?q=2',
    {},
    false,
  ],
  [
    'query present',
    { prefix: '/', query_parameters: [{ name: 'q', present_match: true }] },
    'http://h/?q',
    {},
    true,
  ],
  ['grpc', { prefix: '/', grpc: {} }, 'http://h/', { 'content-type': 'application/grpc+proto' }, true],
  ['not grpc', { prefix: '/', grpc: {} }, 'http://h/', { 'content-type': 'application/grpc-web' }, false],
  [
    'cookie',
    { prefix: '/', cookies: [{ name: 'u', string_match: { prefix: 'j' } }] },
    'http://h/',
    { cookie: 'a=b; u=jason' },
    true,
  ],
  ['connect only', { connect_matcher: {} }, 'http://h/', {}, false],
  ['no client certificate', { prefix: '/', tls_context: { presented: true } }, 'http://h/', {}, false],
];

for (const [name, match, url, fields, hit] of matches) {
  test(`match: ${name}`, () => {
    const live = routes({ match, route: { cluster: 'c' } });
    assert.equal(matchRoute(live, request(url, fields)) !== undefined, hit);
  });
}

test('the first route that matches wins; fractions and weights use the random number', () => {
  const live = routes(
    {
      match: { prefix: '/', runtime_fraction: { default_value: { numerator: 20 } } },
      route: { cluster: 'some' },
    },
    {
      match: { prefix: '/' },
      route: {
        weighted_clusters: {
          clusters: [
            { name: 'a', weight: 1 },
            { name: 'none', weight: 0 },
            { name: 'b', weight: 3, host_rewrite_literal: 'b.example' },
          ],
        },
      },
    },
  );
  const pick = (random: number): string | undefined =>
    matchRoute(live, request('http://h/'), { random: () => random })?.clusterName;
  assert.equal(pick(0.19), 'some');
  assert.equal(pick(0.2), 'a');
  assert.equal(pick(0.24), 'a');
  assert.equal(pick(0.25), 'b');
  assert.equal(pick(0.999), 'b');
});

test('cluster_header takes the cluster from the request', () => {
  const live = routes({ match: { prefix: '/' }, route: { cluster_header: 'X-To' } });
  assert.equal(matchRoute(live, request('http://h/', { 'x-to': 'there' }))?.clusterName, 'there');
  assert.equal(matchRoute(live, request('http://h/'))?.clusterName, '');
});

test('require_tls redirects plain requests', () => {
  const live = table({
    virtual_hosts: [{ name: 'v', domains: ['*'], require_tls: 'ALL', routes: [to('c')] }],
  });
  const plain = request('http://h/x?y');
  const entry = matchRoute(live, plain);
  assert.equal(entry?.action.kind, 'redirect');
  if (entry?.action.kind !== 'redirect') return;
  assert.equal(
    entry.action.location(plain, { info: info(), request: plain, response: undefined }),
    'https://h/x?y',
  );
  assert.equal(matchRoute(live, request('https://h/', { 'x-forwarded-proto': 'https' }))?.clusterName, 'c');
});

const redirects: readonly (readonly [name: string, redirect: JsonValue, url: string, location: string])[] = [
  ['https', { https_redirect: true }, 'http://h/a?b', 'https://h/a?b'],
  ['https drops port 80', { https_redirect: true }, 'http://h:80/a', 'https://h/a'],
  ['other ports stay', { https_redirect: true }, 'http://h:8080/a', 'https://h:8080/a'],
  ['host', { host_redirect: 'o.example' }, 'http://h:81/a', 'http://o.example/a'],
  ['port', { port_redirect: 8443 }, 'http://h:81/a', 'http://h:8443/a'],
  ['path', { path_redirect: '/n' }, 'http://h/a?b', 'http://h/n?b'],
  ['path with query', { path_redirect: '/n?x' }, 'http://h/a?b', 'http://h/n?x'],
  ['strip query', { path_redirect: '/n', strip_query: true }, 'http://h/a?b', 'http://h/n'],
  ['prefix', { prefix_rewrite: '/new/' }, 'http://h/pre/a?b', 'http://h/new/a?b'],
  [
    'regex',
    { regex_rewrite: { pattern: { regex: '^/pre/(.*)$' }, substitution: '/x/\\1' } },
    'http://h/pre/a?b',
    'http://h/x/a?b',
  ],
  ['scheme', { scheme_redirect: 'https', host_redirect: 'o' }, 'http://h/a', 'https://o/a'],
];

for (const [name, redirect, url, location] of redirects) {
  test(`redirect: ${name}`, () => {
    const live = routes({ match: { prefix: url.includes('/pre/') ? '/pre/' : '/' }, redirect });
    const headers = request(url);
    // URL drops default ports.
    if (url.includes(':80/')) headers.authority = 'h:80';
    const entry = matchRoute(live, headers);
    assert.ok(entry?.action.kind === 'redirect');
    assert.equal(
      entry.action.location(headers, { info: info(), request: headers, response: undefined }),
      location,
    );
  });
}

const rule = (name: string, value: string, append_action = 'APPEND_IF_EXISTS_OR_ADD'): JsonValue => ({
  header: { key: name, value },
  append_action,
});

test('header rules apply from the route outwards, or the other way', () => {
  for (const mostSpecific of [false, true]) {
    const live = table({
      most_specific_header_mutations_wins: mostSpecific,
      request_headers_to_add: [rule('x-l', 'config', 'OVERWRITE_IF_EXISTS_OR_ADD')],
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          request_headers_to_add: [rule('x-l', 'host', 'OVERWRITE_IF_EXISTS_OR_ADD')],
          routes: [
            {
              match: { prefix: '/' },
              route: { cluster: 'c' },
              request_headers_to_add: [rule('x-l', 'route', 'OVERWRITE_IF_EXISTS_OR_ADD')],
            },
          ],
        },
      ],
    });
    const headers = request('http://h/');
    matchRoute(live, headers)?.applyRequestRules(headers, info());
    assert.equal(headers.get('x-l'), mostSpecific ? 'route' : 'config');
  }
});

test('header rules: actions, values, removal', () => {
  const live = routes({
    match: { prefix: '/' },
    route: { cluster: 'c' },
    request_headers_to_remove: ['X-Gone'],
    request_headers_to_add: [
      rule('x-append', '2'),
      rule('x-once', 'new', 'ADD_IF_ABSENT'),
      rule('x-over', 'new', 'OVERWRITE_IF_EXISTS'),
      rule('x-not', 'new', 'OVERWRITE_IF_EXISTS'),
      rule('x-who', '%REQ(X-User?:authority)% from %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% 100%%'),
      rule('x-cut', '%REQ(X-User):3%'),
      rule('x-empty', '%REQ(x-none)%'),
      { header: { key: 'x-kept', value: '' }, keep_empty_value: true },
      rule('host', 'rewritten', 'OVERWRITE_IF_EXISTS_OR_ADD'),
    ],
    response_headers_to_add: [rule('x-code', '%RESP(x-in)%')],
  });
  const headers = request('http://h/', {
    'x-gone': '1',
    'x-append': '1',
    'x-once': 'old',
    'x-over': 'old',
    'x-user': 'jason',
  });
  const entry = matchRoute(live, headers);
  entry?.applyRequestRules(headers, info());
  assert.deepEqual(headers.getAll('x-append'), ['1', '2']);
  assert.equal(headers.get('x-once'), 'old');
  assert.equal(headers.get('x-over'), 'new');
  assert.equal(headers.has('x-not'), false);
  assert.equal(headers.has('x-gone'), false);
  assert.equal(headers.get('x-who'), 'jason from 10.0.0.2 100%');
  assert.equal(headers.get('x-cut'), 'jas');
  assert.equal(headers.has('x-empty'), false);
  assert.equal(headers.get('x-kept'), '');
  assert.equal(headers.authority, 'rewritten');
  const response = new ResponseHeaderMap(['x-in'], ['v']);
  entry?.applyResponseRules(response, headers, info());
  assert.equal(response.get('x-code'), 'v');
});

test('what cannot work is refused with its place', () => {
  const bad = (route: JsonValue, message: RegExp): void => assert.throws(() => routes(route), message);
  bad({ match: { prefix: '/' } }, /virtual_hosts\[0\] 'v': routes\[0\] '': route without an action/);
  bad({ name: 'x', route: { cluster: 'c' } }, /routes\[0\] 'x': match is missing/);
  bad({ match: { prefix: '/' }, route: {} }, /without a cluster/);
  bad({ match: { safe_regex: { regex: '(?=a)' } }, route: { cluster: 'c' } }, /regex/);
  bad({ match: { safe_regex: { regex: 'a(' } }, route: { cluster: 'c' } }, /regex/);
  bad(
    { match: { prefix: '/' }, route: { weighted_clusters: { clusters: [{ name: 'a', weight: 0 }] } } },
    /weights/,
  );
  bad(
    { match: { prefix: '/' }, route: { cluster: 'c' }, request_headers_to_add: [rule('a', '%NOPE%')] },
    /%NOPE%/,
  );
  bad(
    { match: { prefix: '/' }, route: { cluster: 'c' }, request_headers_to_remove: [':path'] },
    /cannot be removed/,
  );
  bad(
    { match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'x'.repeat(5000) } } },
    /longer than 4096/,
  );
});

test('hash policies: header, cookie, source address, query; terminal ends the list', () => {
  const hashOf = (
    policies: JsonValue[],
    headers: RequestHeaderMap,
  ): { hash: bigint | undefined; setCookie: string | undefined } => {
    const entry = matchRoute(
      routes({ match: { prefix: '/' }, route: { cluster: 'c', hash_policy: policies } }),
      headers,
    );
    assert.ok(entry?.action.kind === 'forward' && entry.action.hashPolicy !== undefined);
    return entry.action.hashPolicy(headers, info());
  };
  const user: JsonValue = { header: { header_name: 'X-User' } };
  const jason = request('http://h/?u=jason', { 'x-user': 'jason' });
  // xxHash64 of "jason", seed 0.
  assert.equal(hashOf([user], jason).hash, hashOf([{ query_parameter: { name: 'u' } }], jason).hash);
  assert.notEqual(hashOf([user], jason).hash, hashOf([user], request('http://h/', { 'x-user': 'eve' })).hash);
  assert.equal(hashOf([user], request('http://h/')).hash, undefined);
  assert.notEqual(hashOf([{ connection_properties: { source_ip: true } }], jason).hash, undefined);
  const both = hashOf([user, { query_parameter: { name: 'u' } }], jason).hash;
  assert.notEqual(both, 0n);
  assert.equal(
    hashOf([{ ...(user as object), terminal: true } as JsonValue, { query_parameter: { name: 'u' } }], jason)
      .hash,
    hashOf([user], jason).hash,
  );
  const cookie: JsonValue = { cookie: { name: 's', ttl: '60s', path: '/' } };
  const made = hashOf([cookie], request('http://h/'));
  assert.match(made.setCookie ?? '', /^s="[0-9a-f]+"; Max-Age=60; Path=\/; HttpOnly$/);
  const value = /"([0-9a-f]+)"/.exec(made.setCookie ?? '')?.[1] ?? '';
  assert.equal(hashOf([cookie], request('http://h/', { cookie: `s=${value}` })).hash, made.hash);
});
