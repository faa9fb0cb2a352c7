import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { listen, startProxy, type TestProxy } from '../../network/http_connection_manager/testing.ts';
import { grpcWeb } from './config.ts';

interface Seen {
  headers: IncomingHttpHeaders;
  body: Buffer;
}
let seen: Seen = { headers: {}, body: Buffer.alloc(0) };

const message = Buffer.from([0, 0, 0, 0, 4, 1, 2, 255, 0]);
const trailers = Buffer.from('\x80\0\0\0\x22grpc-status:0\r\ngrpc-message:fine\r\n', 'latin1');

/** Upstream answers by the path of the request. */
const answers: Readonly<Record<string, (response: ServerResponse) => void | Promise<void>>> = {
  async '/call'(response) {
    response.writeHead(200, { 'content-type': 'application/grpc', trailer: 'grpc-status, grpc-message' });
    response.write(message.subarray(0, 3));
    await setTimeout(20);
    response.write(message.subarray(3));
    response.addTrailers({ 'grpc-status': '0', 'grpc-message': 'fine' });
    response.end();
  },
  '/trailers-only'(response) {
    response.writeHead(200, {
      'content-type': 'application/grpc',
      'content-length': '0',
      'grpc-status': '5',
      'grpc-message': 'gone',
    });
    response.end();
  },
  async '/html'(response) {
    response.writeHead(404, { 'content-type': 'text/html' });
    response.write('<p>'.repeat(10_000));
    await setTimeout(20);
    response.end('100% lost');
  },
  '/short'(response) {
    response.writeHead(503, { 'content-type': 'text/plain', 'content-length': '9' });
    response.end('100% lost');
  },
  '/web'(response) {
    response.writeHead(200, { 'content-type': 'application/grpc-web; charset=x' });
    response.end(message);
  },
};

const upstream = createServer((incoming, response) => {
  const body: Buffer[] = [];
  incoming.on('data', (data: Buffer) => body.push(data));
  incoming.on('end', () => {
    seen = { headers: incoming.headers, body: Buffer.concat(body) };
    void answers[incoming.url ?? '']?.(response);
  });
  incoming.on('error', () => {});
});
let proxy: TestProxy;

before(async () => {
  const port = await listen(upstream);
  proxy = await startProxy({
    clusters: { a: [port], down: [] },
    clusterOptions: { a: { http_protocol_options: { enable_trailers: true } } },
    filters: [grpcWeb],
    hcm: {
      http_protocol_options: { enable_trailers: true },
      http_filters: [
        {
          name: 'envoy.filters.http.grpc_web',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb' },
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
            { match: { path: '/down' }, route: { cluster: 'down' } },
            { match: { prefix: '/' }, route: { cluster: 'a' } },
          ],
        },
      ],
    },
  });
});
after(() => {
  proxy.close();
  upstream.close();
  upstream.closeAllConnections();
});

interface Answer {
  status: number;
  headers: Headers;
  body: Buffer;
  trailers: Record<string, unknown>;
}

async function call(
  path: string,
  contentType: string,
  body: readonly (string | Uint8Array)[],
  accept = contentType,
): Promise<Answer> {
  const outgoing = request({
    port: proxy.port,
    path,
    method: 'POST',
    maxHeaderSize: 64 * 1024,
    agent: false,
    headers: { 'content-type': contentType, accept, 'x-grpc-web': '1' },
  });
  outgoing.setNoDelay(true);
  const answered = once(outgoing, 'response');
  for (const part of body) {
    outgoing.write(part);
    await setTimeout(5);
  }
  outgoing.end();
  const [response] = (await answered) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const headers = new Headers(response.headers as Record<string, string>);
  return {
    status: response.statusCode ?? 0,
    headers,
    body: Buffer.concat(chunks),
    trailers: { ...response.trailers },
  };
}

/** Base64 in groups of four, as text mode sends it. */
function fromText(text: Buffer): Buffer {
  return Buffer.concat((text.toString().match(/.{4}/g) ?? []).map((group) => Buffer.from(group, 'base64')));
}

for (const suffix of ['', '+proto'])
  test(`binary call: application/grpc-web${suffix}`, async () => {
    const answer = await call('/call', `application/grpc-web${suffix}`, [message]);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/grpc-web+proto');
    assert.deepEqual(answer.body, Buffer.concat([message, trailers]));
    assert.deepEqual(answer.trailers, {});
    assert.deepEqual(seen.body, message);
    assert.equal(seen.headers['content-type'], 'application/grpc');
    assert.equal(seen.headers.te, 'trailers');
    assert.equal(seen.headers['grpc-accept-encoding'], 'identity');
    assert.equal(seen.headers['content-length'], undefined);
    assert.equal(seen.headers['x-grpc-web'], '1');
  });

for (const suffix of ['', '+proto'])
  test(`text call, cut anywhere: application/grpc-web-text${suffix}`, async () => {
    const text = message.toString('base64') + message.subarray(0, 7).toString('base64');
    const answer = await call('/call', `application/grpc-web-text${suffix}`, [
      text.slice(0, 1),
      text.slice(1, 3),
      text.slice(3, 10),
      text.slice(10),
    ]);
    assert.equal(answer.headers.get('content-type'), 'application/grpc-web-text+proto');
    assert.deepEqual(fromText(answer.body), Buffer.concat([message, trailers]));
    assert.deepEqual(seen.body, Buffer.concat([message, message.subarray(0, 7)]));
  });

test('the form of the answer follows accept alone', async () => {
  const binary = await call('/call', 'application/grpc-web-text', [message.toString('base64')], '*/*');
  assert.equal(binary.headers.get('content-type'), 'application/grpc-web+proto');
  assert.deepEqual(binary.body, Buffer.concat([message, trailers]));
  const text = await call('/call', 'application/grpc-web', [message], 'application/grpc-web-text');
  assert.equal(text.headers.get('content-type'), 'application/grpc-web-text+proto');
  assert.deepEqual(fromText(text.body), Buffer.concat([message, trailers]));
});

test('an answer of trailers only keeps them as headers', async () => {
  const answer = await call('/trailers-only', 'application/grpc-web+proto', [message]);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/grpc-web+proto');
  assert.equal(answer.headers.get('grpc-status'), '5');
  assert.equal(answer.headers.get('grpc-message'), 'gone');
  assert.equal(answer.body.length, 0);
});

test('an answer in gRPC-Web stays as it is', async () => {
  const answer = await call('/web', 'application/grpc-web+proto', [message]);
  assert.deepEqual(answer.body, message);
  assert.equal(answer.headers.get('grpc-status'), null);
});

test('an answer that is not gRPC becomes a status and a bounded message', async () => {
  const long = await call('/html', 'application/grpc-web-text', [message.toString('base64')]);
  assert.equal(long.status, 404);
  assert.equal(long.headers.get('content-type'), 'application/grpc-web-text+proto');
  assert.equal(long.headers.get('grpc-status'), '12');
  assert.equal(long.headers.get('grpc-message'), '<p>'.repeat(10_000).slice(0, 16_384));
  assert.equal(long.body.length, 0);
  const short = await call('/short', 'application/grpc-web', [message]);
  assert.equal(short.status, 503);
  assert.equal(short.headers.get('grpc-status'), '14');
  assert.equal(short.headers.get('grpc-message'), '100%25 lost');
  assert.equal(short.headers.get('content-length'), '0');
});

test('a reply of the proxy itself keeps its HTTP status', async () => {
  const answer = await call('/down', 'application/grpc-web', [message]);
  assert.equal(answer.status, 503);
  assert.equal(answer.headers.get('grpc-status'), '14');
  assert.equal(answer.headers.get('grpc-message'), 'no healthy upstream');
  assert.equal(answer.body.length, 0);
});

const bad: readonly [name: string, parts: readonly string[]][] = [
  ['no base64', ['AA*A']],
  ['cut base64', ['AAAA', 'AA']],
];
for (const [name, parts] of bad)
  test(`a text request is refused: ${name}`, async () => {
    const answer = await call('/call', 'application/grpc-web-text', parts);
    assert.equal(answer.status, 400);
    assert.equal(answer.headers.get('grpc-status'), '13');
    assert.equal(answer.headers.get('grpc-message'), 'Bad gRPC-web request, invalid base64 data.');
  });

test('other requests pass untouched', async () => {
  for (const contentType of ['application/grpc', 'application/grpc-web+json', 'text/plain']) {
    const answer = await call('/call', contentType, ['AA*A']);
    assert.equal(answer.headers.get('content-type'), 'application/grpc');
    assert.deepEqual(answer.body, message);
    assert.deepEqual(answer.trailers, { 'grpc-status': '0', 'grpc-message': 'fine' });
    assert.equal(seen.headers['content-type'], contentType);
    assert.equal(seen.headers.te, undefined);
    assert.equal(seen.body.toString(), 'AA*A');
  }
});
