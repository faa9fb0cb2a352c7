/** gRPC: statuses of local replies, deadlines, retries on grpc-status, gRPC-Web. */
import assert from 'node:assert/strict';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { conformance, type Run } from '../harness/conformance.ts';
import { Http2Backend, type Http2Answer, sendHttp2 } from '../harness/http2_peer.ts';

let backend: Http2Backend;
/** What reached the application, by path. */
const seen = new Map<string, IncomingHttpHeaders>();
const calls = new Map<string, number>();

/** One message, framed. */
function frame(text: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(text), 1);
  return Buffer.concat([head, Buffer.from(text)]);
}

function call(run: Run, path: string, more: OutgoingHttpHeaders = {}): Promise<Http2Answer> {
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  return sendHttp2(run.port('in'), { ...headers, ...more }, { body: frame('hi') });
}

/** Status and message, wherever they stand. */
function outcome(answer: Http2Answer): readonly unknown[] {
  const from = answer.headers['grpc-status'] === undefined ? answer.trailers : answer.headers;
  const message = from['grpc-message'];
  return [
    answer.status,
    from['grpc-status'],
    message === undefined ? undefined : decodeURIComponent(String(message)),
  ];
}

conformance(import.meta.filename, {
  rows: ['5.3', '5.20', '5.21'],
  async setUp() {
    seen.clear();
    calls.clear();
    backend = await Http2Backend.start((stream, headers, body) => {
      const path = String(headers[':path']);
      seen.set(path, headers);
      const count = (calls.get(path) ?? 0) + 1;
      calls.set(path, count);
      if (path.startsWith('/late')) return;
      const refuse = /^\/(?:retry|only)\/(\d+)\/(\d+)/.exec(path);
      if (refuse !== null && count <= Number(refuse[2]))
        return void stream.respond(
          {
            ':status': 200,
            'content-type': 'application/grpc',
            'grpc-status': refuse[1],
            'grpc-message': 'no',
          },
          { endStream: true },
        );
      if (path === '/html') {
        stream.respond({ ':status': 502, 'content-type': 'text/html' });
        return void stream.end('<p>bad</p>');
      }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-end': '1' }));
      stream.end(body);
    });
    return { grpc_port: String(backend.port) };
  },
  tearDown: () => backend.stop(),
  cases: {
    'a call: message and trailers': async (run) => {
      const answer = await call(run, '/ok');
      assert.deepEqual(outcome(answer), [200, '0', undefined]);
      assert.equal(answer.body, frame('hi').toString());
      assert.equal(answer.trailers['x-end'], '1');
      assert.equal(seen.get('/ok')?.['te'], 'trailers');
      assert.deepEqual(await run.lines('access.log', 1), ['/ok 200 - via_upstream OK']);
    },
    'local replies become statuses': async (run) => {
      assert.deepEqual(outcome(await call(run, '/none')), [200, '14', 'no healthy upstream']);
      const dead = outcome(await call(run, '/dead'));
      assert.deepEqual(dead.slice(0, 2), [200, '14']);
      assert.match(String(dead[2]), /^upstream connect error or disconnect\/reset before headers\. /);
      assert.deepEqual(outcome(await call(run, '/direct')), [200, '7', 'keep out']);
      const teapot = await call(run, '/teapot');
      assert.deepEqual(outcome(teapot), [200, '2', undefined]);
      assert.equal(teapot.headers['content-type'], 'application/grpc');
      assert.equal(teapot.body, '');
    },
    'answers that are not gRPC pass as they are': async (run) => {
      const answer = await call(run, '/html');
      assert.deepEqual(
        [answer.status, answer.body, answer.headers['grpc-status']],
        [502, '<p>bad</p>', undefined],
      );
    },
    'trailers only': async (run) => {
      assert.deepEqual(outcome(await call(run, '/only/5/9')), [200, '5', 'no']);
    },
    'the timeout of the route': async (run) => {
      assert.deepEqual(outcome(await call(run, '/late/route')), [200, '14', 'upstream request timeout']);
    },
    'grpc-timeout limits the stream': async (run) => {
      const start = performance.now();
      const answer = await call(run, '/late/stream', { 'grpc-timeout': '200m' });
      assert.deepEqual(outcome(answer), [200, '4', 'downstream duration timeout']);
      assert.ok(performance.now() - start > 150);
      assert.equal(seen.get('/late/stream')?.['grpc-timeout'], '200m');
    },
    'grpc-timeout past its cap': async (run) => {
      const answer = await call(run, '/late/capped', { 'grpc-timeout': '1H' });
      assert.deepEqual(outcome(answer), [200, '4', 'downstream duration timeout']);
      assert.equal(seen.get('/late/capped')?.['grpc-timeout'], '200m');
    },
    'grpc-timeout limits the response (max_grpc_timeout)': async (run) => {
      const answer = await call(run, '/late/old', { 'grpc-timeout': '200m' });
      assert.deepEqual(outcome(answer), [200, '14', 'upstream request timeout']);
      assert.equal(seen.get('/late/old')?.['grpc-timeout'], '200m');
    },
    'statuses that are retried': async (run) => {
      for (const status of [1, 4, 8, 13, 14]) {
        const path = `/retry/${status}/2`;
        assert.deepEqual(outcome(await call(run, path)), [200, '0', undefined], path);
        assert.equal(calls.get(path), 3, path);
      }
      assert.deepEqual(outcome(await call(run, '/retry/5/2')), [200, '5', 'no']);
      assert.equal(calls.get('/retry/5/2'), 1);
      assert.deepEqual(outcome(await call(run, '/retry/14/9')), [200, '14', 'no']);
      assert.equal(calls.get('/retry/14/9'), 4);
    },
    'gRPC-Web, binary and text': async (run) => {
      const binary = await run.get('/web', {
        method: 'POST',
        headers: { 'content-type': 'application/grpc-web+proto' },
        body: frame('hi'),
      });
      assert.equal(binary.status, 200);
      assert.equal(binary.headers['content-type'], 'application/grpc-web+proto');
      assert.match(binary.body, /^\0\0\0\0\u0002hi\ufffd?[^]*grpc-status:0\r\nx-end:1\r\n$/);
      assert.equal(seen.get('/web')?.['content-type'], 'application/grpc');
      const text = await run.get('/web', {
        method: 'POST',
        headers: { 'content-type': 'application/grpc-web-text', accept: 'application/grpc-web-text' },
        body: frame('hi').toString('base64'),
      });
      assert.equal(text.headers['content-type'], 'application/grpc-web-text+proto');
      assert.ok(Buffer.from(text.body, 'base64').includes('hi'));
    },
    'a local reply to gRPC-Web': async (run) => {
      const answer = await run.get('/direct', {
        method: 'POST',
        headers: { 'content-type': 'application/grpc-web+proto' },
        body: frame('hi'),
      });
      assert.deepEqual(
        [answer.status, answer.headers['grpc-status'], answer.headers['grpc-message']],
        [403, '7', 'keep out'],
      );
    },
  },
});
