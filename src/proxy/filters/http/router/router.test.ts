import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, request as httpRequest } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import { formatResponseFlags } from '../../../stream_info/response_flags.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import {
  listen,
  type ProxyOptions,
  startProxy,
  type TestProxy,
} from '../../network/http_connection_manager/testing.ts';

/** An upstream that plays one script per request: a response, or what to do to the connection. */
type Script = string | 'hang' | 'close';

interface Upstream {
  readonly port: number;
  readonly heads: string[];
  connections: number;
}

async function upstream(t: TestContext, script: (n: number, head: string) => Script): Promise<Upstream> {
  const sockets = new Set<Socket>();
  const state = { port: 0, heads: [] as string[], connections: 0 };
  const server: Server = createServer((socket) => {
    state.connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    let input = '';
    socket.on('data', (chunk: Buffer) => {
      input += chunk.toString('latin1');
      const end = input.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/content-length: (\d+)/.exec(input)?.[1] ?? 0);
      if (input.length < end + 4 + length) return;
      const head = input;
      input = '';
      state.heads.push(head);
      const answer = script(state.heads.length, head);
      if (answer === 'close') socket.destroy();
      else if (answer !== 'hang') socket.write(answer, 'latin1');
    });
  });
  state.port = await listen(server);
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return state;
}

const ok = (body = 'ok', fields = ''): string =>
  `HTTP/1.1 200 OK\r\n${fields}content-length: ${body.length}\r\n\r\n${body}`;
const status = (code: number, fields = ''): string =>
  `HTTP/1.1 ${code} X\r\n${fields}content-length: 0\r\n\r\n`;

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
  readonly info: StreamInfo;
  readonly ms: number;
}

class Asker {
  readonly proxy: TestProxy;
  readonly infos: StreamInfo[];

  constructor(proxy: TestProxy, infos: StreamInfo[]) {
    this.proxy = proxy;
    this.infos = infos;
  }

  async ask(
    path = '/',
    options: { method?: string; headers?: Record<string, string>; body?: string | Buffer } = {},
  ): Promise<Answer> {
    const start = performance.now();
    const seen = this.infos.length;
    const request = httpRequest({
      port: this.proxy.port,
      host: '127.0.0.1',
      path,
      agent: false,
      method: options.method ?? 'GET',
      headers: {
        ...(options.body === undefined ? {} : { 'content-length': options.body.length }),
        ...options.headers,
      },
    });
    request.end(options.body);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let body = '';
    for await (const chunk of response) body += String(chunk);
    while (this.infos.length === seen) await new Promise((resolve) => setTimeout(resolve, 1));
    return {
      status: response.statusCode ?? 0,
      body,
      headers: response.headers,
      info: this.infos[seen] as StreamInfo,
      ms: performance.now() - start,
    };
  }
}

async function proxyWith(
  t: TestContext,
  route: Record<string, JsonValue>,
  options: ProxyOptions & { host?: Record<string, JsonValue> } = {},
): Promise<Asker> {
  const infos: StreamInfo[] = [];
  const proxy = await startProxy({
    routes: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [{ name: 'n', match: { prefix: '/' }, route: { cluster: 'a', ...route } }],
          ...options.host,
        },
      ],
    },
    accessLoggers: [{ log: (info) => void infos.push(info) }],
    random: () => 0,
    ...options,
  });
  t.after(() => proxy.close());
  return new Asker(proxy, infos);
}

const closedPort = 1;

test('failures before response headers: status, body, details, flags', async (t) => {
  const cases: readonly (readonly [string, ProxyOptions, Script, number, string, string, string])[] = [
    [
      'refused',
      { clusters: { a: [closedPort] } },
      'hang',
      503,
      'upstream connect error or disconnect/reset before headers. reset reason: remote connection failure',
      'upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}',
      'UF',
    ],
    [
      'closed',
      {},
      'close',
      503,
      'upstream connect error or disconnect/reset before headers. reset reason: connection termination',
      'upstream_reset_before_response_started{connection_termination}',
      'UC',
    ],
    ['no host', { clusters: { a: [] } }, 'hang', 503, 'no healthy upstream', 'no_healthy_upstream', 'UH'],
    ['no cluster', { clusters: {} }, 'hang', 503, '', 'cluster_not_found', 'NC'],
    ['timeout', {}, 'hang', 504, 'upstream request timeout', 'response_timeout', 'UT'],
    [
      'broken',
      {},
      'SMTP\r\n\r\n',
      502,
      'upstream connect error or disconnect/reset before headers. reset reason: protocol error',
      'upstream_reset_before_response_started{protocol_error|protocol_error}',
      'UPE',
    ],
  ];
  for (const [name, options, script, code, body, details, flags] of cases) {
    const server = await upstream(t, () => script);
    const asker = await proxyWith(t, { timeout: '0.1s' }, { clusters: { a: [server.port] }, ...options });
    const answer = await asker.ask();
    assert.equal(answer.status, code, name);
    assert.equal(answer.body, body, name);
    assert.equal(answer.info.responseCodeDetails, details, name);
    assert.equal(formatResponseFlags(answer.info.responseFlags), flags, name);
  }
});

test('a response that breaks off is cut off for the client too', async (t) => {
  const server = await upstream(t, () => 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart');
  const infos: StreamInfo[] = [];
  const proxy = await startProxy({
    clusters: { a: [server.port] },
    accessLoggers: [{ log: (info) => void infos.push(info) }],
    routes: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, route: { cluster: 'a', timeout: '0.1s' } }],
        },
      ],
    },
  });
  t.after(() => proxy.close());
  const socket = connect(proxy.port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  socket.write('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  await once(socket, 'end');
  assert.ok(text.endsWith('part'));
  assert.equal(formatResponseFlags(infos[0]?.responseFlags ?? 0), 'UT');
});

test('retries: until it works, at most as often as told, elsewhere', async (t) => {
  const flaky = await upstream(t, (n) => (n < 3 ? status(503) : ok()));
  const policy = { retry_on: '5xx', num_retries: 2 };
  const asker = await proxyWith(
    t,
    { retry_policy: policy },
    {
      clusters: { a: [flaky.port] },
      host: { include_request_attempt_count: true, include_attempt_count_in_response: true },
    },
  );
  const answer = await asker.ask('/', { method: 'POST', body: 'payload' });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['x-envoy-attempt-count'], '3');
  assert.equal(answer.info.attemptCount, 3);
  assert.deepEqual(
    flaky.heads.map((head) => [/x-envoy-attempt-count: (\d)/.exec(head)?.[1], head.endsWith('payload')]),
    [
      ['1', true],
      ['2', true],
      ['3', true],
    ],
  );
  const stats = asker.proxy.clusters.get('a')?.stats;
  assert.equal(stats?.upstreamRqRetry, 2);
  assert.equal(stats.upstreamRqRetrySuccess, 1);

  const broken = await upstream(t, () => status(503));
  const limited = await proxyWith(t, { retry_policy: policy }, { clusters: { a: [broken.port] } });
  const failed = await limited.ask();
  assert.equal(failed.status, 503);
  assert.equal(broken.heads.length, 3);
  assert.equal(formatResponseFlags(failed.info.responseFlags), 'URX');
  assert.equal(failed.info.responseCodeDetails, 'via_upstream');

  const good = await upstream(t, () => ok());
  const elsewhere = await proxyWith(
    t,
    {
      retry_policy: {
        retry_on: 'connect-failure,gateway-error',
        num_retries: 2,
        retry_host_predicate: [{ name: 'envoy.retry_host_predicates.previous_hosts' }],
        host_selection_retry_max_attempts: 5,
      },
    },
    { clusters: { a: [closedPort, good.port] }, random: Math.random },
  );
  for (let i = 0; i < 6; i++) assert.equal((await elsewhere.ask()).status, 200);
});

test('retries after a reset say so; a body over the limit is sent once', async (t) => {
  const server = await upstream(t, () => 'close');
  const asker = await proxyWith(
    t,
    { retry_policy: { retry_on: 'reset', num_retries: 1 } },
    { clusters: { a: [server.port] } },
  );
  const answer = await asker.ask();
  assert.match(answer.body, /retried and the latest reset reason: connection termination$/);
  assert.equal(formatResponseFlags(answer.info.responseFlags), 'URX,UC');
  assert.equal(server.heads.length, 2);
  const unwilling = await upstream(t, () => status(503));
  const large = await proxyWith(
    t,
    { retry_policy: { retry_on: '5xx', num_retries: 3 } },
    { clusters: { a: [unwilling.port] }, host: { per_request_buffer_limit_bytes: 1000 } },
  );
  assert.equal((await large.ask('/', { method: 'POST', body: Buffer.alloc(5000) })).status, 503);
  assert.equal(unwilling.heads.length, 1);
});

test('a time limit for each try', async (t) => {
  const server = await upstream(t, (n) => (n === 1 ? 'hang' : ok()));
  const asker = await proxyWith(
    t,
    { retry_policy: { retry_on: '5xx', num_retries: 1, per_try_timeout: '0.1s' } },
    { clusters: { a: [server.port] } },
  );
  const answer = await asker.ask();
  assert.equal(answer.status, 200);
  assert.ok(answer.ms >= 100);
  const silent = await upstream(t, () => 'hang');
  const failing = await proxyWith(
    t,
    { retry_policy: { retry_on: '5xx', num_retries: 0, per_try_timeout: '0.1s' } },
    { clusters: { a: [silent.port] } },
  );
  const failed = await failing.ask();
  assert.equal(failed.status, 504);
  assert.equal(failed.info.responseCodeDetails, 'upstream_per_try_timeout');
});

test('the retry budget of a cluster is kept', async (t) => {
  const server = await upstream(t, () => status(503));
  const asker = await proxyWith(
    t,
    { retry_policy: { retry_on: '5xx', num_retries: 3 } },
    {
      clusters: { a: [server.port] },
      clusterOptions: { a: { circuit_breakers: { thresholds: [{ max_retries: 0 }] } } },
    },
  );
  const answer = await asker.ask();
  assert.equal(answer.status, 503);
  assert.equal(server.heads.length, 1);
  assert.equal(formatResponseFlags(answer.info.responseFlags), 'UO');
});

test('an open circuit breaker answers at once', async (t) => {
  const server = await upstream(t, () => 'hang');
  const asker = await proxyWith(
    t,
    { retry_policy: { retry_on: '5xx' } },
    {
      clusters: { a: [server.port] },
      clusterOptions: {
        a: {
          circuit_breakers: {
            thresholds: [{ max_connections: 1, max_pending_requests: 1 }],
          },
        },
      },
    },
  );
  void asker.ask().catch(() => {});
  while (server.heads.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  // The second one waits for the only connection, the third one has no place to wait.
  void asker.ask().catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 30));
  const answer = await asker.ask();
  assert.equal(answer.status, 503);
  assert.match(answer.body, /reset reason: overflow$/);
  assert.equal(answer.headers['x-envoy-overloaded'], 'true');
  assert.equal(formatResponseFlags(answer.info.responseFlags), 'UO');
});

test('inside, requests may steer retries and timeouts by header', async (t) => {
  const server = await upstream(t, (n) => (n === 1 ? status(500) : n === 2 ? ok() : 'hang'));
  const asker = await proxyWith(
    t,
    {},
    {
      clusters: { a: [server.port] },
      hcm: {
        use_remote_address: true,
        internal_address_config: { cidr_ranges: [{ address_prefix: '127.0.0.0', prefix_len: 8 }] },
      },
    },
  );
  const retried = await asker.ask('/', {
    headers: { 'x-envoy-retry-on': '5xx', 'x-envoy-max-retries': '2' },
  });
  assert.equal(retried.status, 200);
  assert.ok(!server.heads[0]?.includes('x-envoy-retry-on'));
  const slow = await asker.ask('/', { headers: { 'x-envoy-upstream-rq-timeout-ms': '80' } });
  assert.equal(slow.status, 504);
  assert.match(server.heads[2] ?? '', /x-envoy-expected-rq-timeout-ms: 80\r\n/);
});

test('rewrites, header rules and original path', async (t) => {
  const server = await upstream(t, (_n, head) => ok(head));
  const rewriting: readonly (readonly [Record<string, JsonValue>, string, RegExp])[] = [
    [{ prefix_rewrite: '/new/' }, '/a?x', /^GET \/new\/a\?x HTTP[^]*x-envoy-original-path: \/a\?x\r\n/],
    [
      { regex_rewrite: { pattern: { regex: '^/(.*)$' }, substitution: '/re/\\1' } },
      '/a?x',
      /^GET \/re\/a\?x /,
    ],
    [
      { host_rewrite_literal: 'other.example', append_x_forwarded_host: true },
      '/',
      /host: other\.example\r\n[^]*x-forwarded-host: 127\.0\.0\.1:\d+\r\n/,
    ],
    [{ host_rewrite_header: 'x-to' }, '/', /host: from-header\r\n/],
    [
      { host_rewrite_path_regex: { pattern: { regex: '^/(.+)/.*$' }, substitution: '\\1' } },
      '/who/x',
      /host: who\r\n/,
    ],
    [{ auto_host_rewrite: true }, '/', new RegExp(`host: host-${server.port}\r\n`)],
  ];
  for (const [route, path, expected] of rewriting) {
    const asker = await proxyWith(t, route, { clusters: { a: [server.port] } });
    assert.match((await asker.ask(path, { headers: { 'x-to': 'from-header' } })).body, expected);
  }
});

test('direct responses and redirects', async (t) => {
  const proxy = await startProxy({
    clusters: {},
    routes: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          response_headers_to_add: [{ header: { key: 'x-mark', value: '1' } }],
          routes: [
            {
              match: { prefix: '/direct' },
              direct_response: { status: 418, body: { inline_string: 'teapot' } },
            },
            {
              match: { prefix: '/' },
              redirect: { host_redirect: 'o.example', response_code: 'PERMANENT_REDIRECT' },
            },
          ],
        },
      ],
    },
  });
  t.after(() => proxy.close());
  const direct = await fetch(`http://127.0.0.1:${proxy.port}/direct`);
  assert.deepEqual([direct.status, await direct.text(), direct.headers.get('x-mark')], [418, 'teapot', '1']);
  const redirect = await fetch(`http://127.0.0.1:${proxy.port}/a?b`, { redirect: 'manual' });
  assert.deepEqual([redirect.status, redirect.headers.get('location')], [308, 'http://o.example/a?b']);
});

test('a mirror gets the request, nobody waits for it', async (t) => {
  const real = await upstream(t, () => ok());
  const shadow = await upstream(t, () => 'hang');
  const asker = await proxyWith(
    t,
    {
      request_mirror_policies: [
        { cluster: 'b' },
        { cluster: 'b', disable_shadow_host_suffix_append: true },
        { cluster: 'b', runtime_fraction: { default_value: { numerator: 0 } } },
      ],
    },
    { clusters: { a: [real.port], b: [shadow.port] } },
  );
  const answer = await asker.ask('/m', { method: 'POST', body: 'copy', headers: { host: 'h.example:80' } });
  assert.equal(answer.body, 'ok');
  while (shadow.heads.length < 2) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.deepEqual(
    shadow.heads.map((head) => [/host: (\S+)/.exec(head)?.[1], head.endsWith('copy')]).toSorted(),
    [
      ['h.example-shadow:80', true],
      ['h.example:80', true],
    ],
  );
});

test('requests share connections one after the other', async (t) => {
  const server = await upstream(t, () => ok());
  const asker = await proxyWith(t, {}, { clusters: { a: [server.port] } });
  for (let i = 0; i < 20; i++) assert.equal((await asker.ask()).body, 'ok');
  assert.equal(server.connections, 1);
});

test('many requests at once, each gets its own answer', async (t) => {
  const server = createHttpServer((request, response) => {
    setTimeout(() => response.end(request.url), Number(request.url?.length) % 3);
  });
  const port = await listen(server);
  t.after(() => server.close());
  const asker = await proxyWith(t, {}, { clusters: { a: [port] } });
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => asker.ask(`/${'x'.repeat(i % 7)}${i}`)),
  );
  answers.forEach((answer, i) => assert.equal(answer.body, `/${'x'.repeat(i % 7)}${i}`));
  assert.equal(asker.proxy.clusters.get('a')?.stats.upstreamRqActive, 0);
});

test('the record of a request is complete', async (t) => {
  const server = await upstream(t, () => ok('12345'));
  const asker = await proxyWith(t, {}, { clusters: { a: [server.port] } });
  const { info } = await asker.ask('/', { method: 'POST', body: 'abc' });
  assert.equal(info.responseCode, 200);
  assert.equal(info.responseCodeDetails, 'via_upstream');
  assert.equal(info.routeName, 'n');
  assert.equal(info.virtualHostName, 'v');
  assert.equal(info.clusterName, 'a');
  assert.equal(info.bytesReceived, 3);
  assert.equal(info.bytesSent, 5);
  assert.ok(info.wireBytesReceived > 50 && info.wireBytesSent > 100);
  assert.equal(info.upstream?.hostAddress?.port, server.port);
  assert.equal(info.upstream.localAddress?.ip, '127.0.0.1');
  assert.equal(info.upstream.protocol, 'HTTP/1.1');
  assert.match(info.requestId, /^[0-9a-f-]{36}$/);
  for (const time of [
    info.lastDownstreamByteReceived,
    info.firstDownstreamByteSent,
    info.lastDownstreamByteSent,
    info.end,
    info.upstream.firstByteSentMs,
    info.upstream.lastByteSentMs,
    info.upstream.firstByteReceivedMs,
    info.upstream.lastByteReceivedMs,
  ])
    assert.ok(time >= info.start, String(time));
});
