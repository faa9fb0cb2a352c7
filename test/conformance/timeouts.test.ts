/** Time limits: of routes, attempts and streams, by header and by gRPC deadline. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { conformance, type Run } from '../harness/conformance.ts';
import { type RequestOptions, send } from '../harness/http_request.ts';

const slow = { 'x-want-delay-ms': '1000' };
const grpc = { 'content-type': 'application/grpc' };

async function ask(
  run: Run,
  path: string,
  headers: NonNullable<RequestOptions['headers']> = {},
  port = 'in',
) {
  const answer = await send(run.port(port), path, { headers });
  return [answer.status, answer.body];
}

/** What comes on a raw connection until it ends. */
async function untilEnd(run: Run, port: string, input: string): Promise<string> {
  const socket = connect(run.port(port), '127.0.0.1').setEncoding('latin1');
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  socket.write(input);
  await new Promise((resolve, reject) => {
    socket.on('close', resolve);
    socket.on('error', reject);
  });
  return text;
}

conformance(import.meta.filename, {
  rows: ['5.20'],
  cases: {
    route: async (run) => {
      assert.deepEqual(await ask(run, '/route', slow), [504, 'upstream request timeout']);
      assert.equal((await ask(run, '/none', { 'x-want-delay-ms': '300' }))[0], 200);
      assert.ok((await run.stat('cluster.app.upstream_rq_timeout')) >= 1);
    },
    'by header; the upstream is told': async (run) => {
      assert.deepEqual(await ask(run, '/', { ...slow, 'x-envoy-upstream-rq-timeout-ms': '100' }), [
        504,
        'upstream request timeout',
      ]);
      const { headers } = (
        await run.get('/', { headers: { 'x-envoy-upstream-rq-timeout-ms': '3000' } })
      ).echo();
      assert.equal(headers['x-envoy-expected-rq-timeout-ms'], '3000');
      assert.equal(headers['x-envoy-upstream-rq-timeout-ms'], undefined);
      const none = (await run.get('/none')).echo().headers;
      assert.equal(none['x-envoy-expected-rq-timeout-ms'], undefined);
      const attempt = (await run.get('/try')).echo().headers;
      assert.equal(attempt['x-envoy-expected-rq-timeout-ms'], '400');
      const both = (
        await run.get('/', {
          headers: {
            'x-envoy-upstream-rq-timeout-ms': '3000',
            'x-envoy-upstream-rq-per-try-timeout-ms': '200',
          },
        })
      ).echo().headers;
      assert.equal(both['x-envoy-expected-rq-timeout-ms'], '200');
      const odd = (await run.get('/', { headers: { 'x-envoy-upstream-rq-timeout-ms': 'soon' } })).echo()
        .headers;
      assert.equal(odd['x-envoy-expected-rq-timeout-ms'], '15000');
    },
    'idle stream of a route': async (run) => {
      assert.deepEqual(await ask(run, '/idle', slow), [504, 'stream timeout']);
    },
    'longest stream of a route': async (run) => {
      assert.deepEqual(await ask(run, '/duration', slow), [504, 'downstream duration timeout']);
    },
    'gRPC deadlines': async (run) => {
      const call = async (path: string, headers: Record<string, string>) => {
        const answer = await run.get(path, { method: 'POST', headers: { ...grpc, ...headers } });
        return [answer.status, answer.headers['grpc-status'], answer.headers['grpc-message']];
      };
      assert.deepEqual(await call('/grpc-capped', { ...slow, 'grpc-timeout': '4S' }), [
        200,
        '4',
        'downstream duration timeout',
      ]);
      assert.deepEqual(await call('/grpc-capped', { ...slow, 'grpc-timeout': '50m' }), [
        200,
        '4',
        'downstream duration timeout',
      ]);
      assert.deepEqual(await call('/grpc-free', { ...slow, 'grpc-timeout': '150m' }), [
        200,
        '4',
        'downstream duration timeout',
      ]);
      assert.deepEqual(await call('/grpc-old', { ...slow, 'grpc-timeout': '4S' }), [
        200,
        '14',
        'upstream request timeout',
      ]);
      assert.deepEqual(await call('/grpc-old', slow), [200, '14', 'upstream request timeout']);
    },
    'gRPC deadlines go on': async (run) => {
      const sent = async (path: string, headers: Record<string, string>) =>
        (await run.get(path, { method: 'POST', headers: { ...grpc, ...headers } })).echo().headers[
          'grpc-timeout'
        ];
      assert.equal(await sent('/', { 'grpc-timeout': '2S' }), '2S');
      assert.equal(await sent('/grpc-old', { 'grpc-timeout': '2S' }), '150m');
      assert.equal(await sent('/grpc-old', {}), '150m');
      assert.equal(await sent('/grpc-capped', { 'grpc-timeout': '2S' }), '150m');
      assert.equal(await sent('/grpc-free', { 'grpc-timeout': '2S' }), '1950m');
    },
    attempts: async (run) => {
      const late = await run.stat('cluster.app.upstream_rq_per_try_timeout');
      assert.deepEqual(await ask(run, '/try', slow), [504, 'upstream request timeout']);
      assert.equal(await run.stat('cluster.app.upstream_rq_per_try_timeout'), late + 3);
    },
    'an attempt without progress': async (run) => {
      const retried = await run.stat('cluster.app.upstream_rq_retry');
      assert.deepEqual(await ask(run, '/try-idle', slow), [504, 'upstream request timeout']);
      assert.equal(await run.stat('cluster.app.upstream_rq_retry'), retried + 1);
    },
    'the route ends attempts': async (run) => {
      const late = await run.stat('cluster.app.upstream_rq_timeout');
      assert.deepEqual(await ask(run, '/both', slow), [504, 'upstream request timeout']);
      assert.equal(await run.stat('cluster.app.upstream_rq_timeout'), late + 1);
    },
    'streams of the connection manager': async (run) => {
      assert.deepEqual(await ask(run, '/', slow, 'stream'), [504, 'stream timeout']);
      assert.equal((await ask(run, '/longer', { 'x-want-delay-ms': '600' }, 'stream'))[0], 200);
    },
    'a request that does not come to its end': async (run) => {
      assert.match(
        await untilEnd(run, 'stream', 'POST /longer HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nab'),
        /^HTTP\/1\.1 408 Request Timeout\r\n[^]*request timeout$/,
      );
      assert.match(
        await untilEnd(run, 'stream', 'GET /longer HTTP/1.1\r\nhost: h\r\n'),
        /^HTTP\/1\.1 408 Request Timeout\r\n[^]*request header timeout$/,
      );
    },
    'idle connections, and only so many requests': async (run) => {
      const text = await untilEnd(run, 'idle', 'GET / HTTP/1.1\r\nhost: h\r\nx-want-body: one\r\n\r\n');
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*one$/);
      assert.doesNotMatch(text, /connection: close/);
      const two = await untilEnd(
        run,
        'idle',
        'GET / HTTP/1.1\r\nhost: h\r\nx-want-body: one\r\n\r\n'.repeat(2),
      );
      assert.equal(two.match(/HTTP\/1\.1 200/g)?.length, 2);
      assert.match(two, /connection: close/);
    },
  },
});
