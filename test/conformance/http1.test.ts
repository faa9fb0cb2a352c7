/** HTTP/1: framing and refusals on the wire, forwarding headers, timeouts, retries. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { conformance, type Run } from '../harness/conformance.ts';

/** What comes back for raw input until the proxy closes, or until `until` matches. */
async function exchange(run: Run, input: string, until?: RegExp, port = 'in'): Promise<string> {
  const socket = connect(run.port(port), '127.0.0.1').setEncoding('latin1');
  socket.on('error', () => {});
  let text = '';
  let closed = false;
  socket.on('data', (chunk: string) => (text += chunk));
  socket.on('close', () => (closed = true));
  socket.write(input, 'latin1');
  const end = performance.now() + 5000;
  while (!closed && !(until?.test(text) ?? false)) {
    if (performance.now() > end) throw new Error(`waits for ever after ${JSON.stringify(text)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  socket.destroy();
  return text;
}

/** Requests that two servers could read differently, or that are no HTTP. Folded lines and bare CRs are refused by us alone. */
const refused: readonly (readonly [name: string, input: string])[] = [
  [
    'two lengths that differ',
    'POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd',
  ],
  [
    'length and chunked',
    'POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['a length that is no number', 'POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3x\r\n\r\nabc'],
  ['a negative length', 'POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n'],
  ['a space before the colon', 'GET / HTTP/1.1\r\nhost: h\r\nx : a\r\n\r\n'],
  ['a NUL in a value', 'GET / HTTP/1.1\r\nhost: h\r\nx: a\0b\r\n\r\n'],
  ['no host', 'GET / HTTP/1.1\r\n\r\n'],
  ['a bad chunk size', 'POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n'],
  ['a name with a blank', 'GET / HTTP/1.1\r\nhost: h\r\na b: c\r\n\r\n'],
];

const attempts = (answer: { headers: Record<string, unknown> }): unknown =>
  answer.headers['x-envoy-attempt-count'];

conformance(import.meta.filename, {
  rows: ['5.1', '5.10', '5.20', '5.21'],
  cases: {
    'keep-alive and pipelined requests, answered in order': async (run) => {
      const text = await exchange(
        run,
        [1, 2, 3].map((n) => `GET /p${n} HTTP/1.1\r\nhost: h\r\nx-want-body: <${n}>\r\n\r\n`).join(''),
        /<3>/,
      );
      assert.deepEqual(
        [...text.matchAll(/<(\d)>/g)].map(([, n]) => n),
        ['1', '2', '3'],
      );
    },
    'chunked both ways with trailers': async (run) => {
      const text = await exchange(
        run,
        'POST /c HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2;ext=1\r\nab\r\n1\r\nc\r\n0\r\nx-end: yes\r\n\r\n',
        /"trailers":\{[^}]*\}\}/,
      );
      assert.match(text, /"body":"abc"/);
      assert.match(text, /"x-end":"yes"/);
    },
    'HEAD, 204, 304 have no body': async (run) => {
      const text = await exchange(
        run,
        'HEAD / HTTP/1.1\r\nhost: h\r\n\r\n' +
          'GET / HTTP/1.1\r\nhost: h\r\nx-want-status: 204\r\n\r\n' +
          'GET / HTTP/1.1\r\nhost: h\r\nx-want-status: 304\r\n\r\n' +
          'GET / HTTP/1.1\r\nhost: h\r\nx-want-body: <end>\r\nconnection: close\r\n\r\n',
      );
      assert.deepEqual(
        [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
        ['200', '204', '304', '200'],
      );
      assert.match(text, /\r\nconnection: close\r\n/);
    },
    '100-continue': async (run) => {
      const text = await exchange(
        run,
        'POST /e HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\nab',
      );
      assert.match(text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
      assert.doesNotMatch(text, /"expect"/);
    },
    'absolute-form': async (run) => {
      const text = await exchange(
        run,
        'GET http://abs.example/q?x=1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n',
      );
      assert.match(text, /"path":"\/q\?x=1"/);
      assert.match(text, /"host":"abs\.example"/);
    },
    'HTTP/1.0 with the default host': async (run) => {
      const text = await exchange(run, 'GET /old HTTP/1.0\r\n\r\n');
      assert.match(text, /^HTTP\/1\.0 200 OK\r\n/);
      assert.match(text, /"host":"old\.example"/);
      const edge = await exchange(run, 'GET /old HTTP/1.0\r\nhost: h\r\n\r\n', undefined, 'edge');
      assert.match(edge, /^HTTP\/1\.1 426 /);
    },
    'what could be read in two ways is refused, and the connection ends': async (run) => {
      for (const [name, input] of refused) {
        const before = run.backend('app').requests;
        const text = await exchange(run, input);
        assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/, name);
        // A bad body may show itself after its head was sent on.
        if (name !== 'a bad chunk size') assert.equal(run.backend('app').requests, before, name);
      }
    },
    'equal lengths are one': async (run) => {
      const text = await exchange(
        run,
        'POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2, 2\r\nconnection: close\r\n\r\nab',
      );
      assert.match(text, /^HTTP\/1\.1 400 /);
    },
    'names keep their case where they are sent on': async (run) => {
      const { headers } = (await run.get('/', { headers: { 'X-Some-Name': 'v' } })).echo();
      assert.equal(headers['x-some-name'], 'v');
    },
    'hop-by-hop headers end here': async (run) => {
      const { headers } = (
        await run.get('/', {
          headers: {
            connection: 'close, x-mine',
            'x-mine': '1',
            'keep-alive': '5',
            'proxy-connection': 'x',
            te: 'gzip',
          },
        })
      ).echo();
      for (const name of ['x-mine', 'keep-alive', 'proxy-connection', 'te'])
        assert.equal(headers[name], undefined, name);
    },
    'forwarding headers inside the mesh': async (run) => {
      const { headers } = (
        await run.get('/', { headers: { 'x-forwarded-for': '1.2.3.4', 'x-request-id': 'mine' } })
      ).echo();
      assert.equal(headers['x-forwarded-for'], '1.2.3.4');
      assert.equal(headers['x-forwarded-proto'], 'http');
      assert.equal(headers['x-request-id'], 'mine');
      assert.equal(headers['x-envoy-attempt-count'], '1');
      assert.equal(headers['x-envoy-expected-rq-timeout-ms'], '15000');
      const answer = await run.get('/');
      assert.equal(answer.headers['server'], 'envoy');
      assert.match(String(answer.headers['x-envoy-upstream-service-time']), /^\d+$/);
      assert.match(String(answer.echo().headers['x-request-id']), /^[0-9a-f-]{36}$/);
    },
    'forwarding headers at the edge': async (run) => {
      const text = await exchange(
        run,
        'GET / HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\n' +
          'x-envoy-internal: true\r\nx-envoy-max-retries: 7\r\nx-request-id: theirs\r\nvia: older\r\nconnection: close\r\n\r\n',
        undefined,
        'edge',
      );
      assert.match(text, /"x-forwarded-for":"1\.2\.3\.4,[0-9.]+"/);
      assert.match(text, /"x-forwarded-proto":"https"/);
      assert.match(text, /"x-forwarded-port":"\d+"/);
      assert.match(text, /"x-envoy-external-address":"1\.2\.3\.4"/);
      assert.match(text, /"via":"older, mesh"/);
      assert.doesNotMatch(text, /"x-envoy-internal"|"x-envoy-max-retries"|"x-request-id":"theirs"/);
      assert.match(text, /\r\nserver: istio-envoy\r\n/);
      assert.match(text, /\r\nx-request-id: [0-9a-f-]{36}\r\n/);
      assert.match(text, /\r\nvia: mesh\r\n/);
    },
    'the timeout of the route': async (run) => {
      const answer = await run.get('/slow', { headers: { 'x-want-delay-ms': '600' } });
      assert.deepEqual([answer.status, answer.body], [504, 'upstream request timeout']);
      assert.equal(await run.stat('cluster.app.upstream_rq_timeout'), 1);
    },
    'the timeout of each try': async (run) => {
      const before = run.backend('app').requests;
      const answer = await run.get('/try', { headers: { 'x-want-delay-ms': '600' } });
      assert.equal(answer.status, 504);
      assert.equal(run.backend('app').requests - before, 3);
      assert.equal(await run.stat('cluster.app.upstream_rq_per_try_timeout'), 3);
    },
    'the idle timeout of the route': async (run) => {
      const answer = await run.get('/idle', { headers: { 'x-want-delay-ms': '800' } });
      assert.deepEqual([answer.status, answer.body], [504, 'stream timeout']);
    },
    'retries by status code': async (run) => {
      const answer = await run.get('/retry/a', { headers: { 'x-want-fail-first': '2' } });
      assert.deepEqual([answer.status, attempts(answer)], [200, '3']);
      const spent = await run.get('/retry/b', { headers: { 'x-want-fail-first': '9' } });
      assert.deepEqual([spent.status, attempts(spent)], [503, '3']);
      assert.ok((await run.stat('cluster.app.upstream_rq_retry_limit_exceeded')) >= 1);
      const other = await run.get('/retry/c', { headers: { 'x-want-status': '500' } });
      assert.deepEqual([other.status, attempts(other)], [500, '1']);
    },
    'retries with a body, after a reset, of 409': async (run) => {
      const body = 'x'.repeat(20_000);
      const answer = await run.get('/retry/d', {
        method: 'POST',
        body,
        headers: { 'x-want-fail-first': '1' },
      });
      assert.deepEqual([answer.status, answer.echo().body.length, attempts(answer)], [200, 20_000, '2']);
      const reset = await run.get('/retry/e', { headers: { 'x-want-reset': '1' } });
      assert.deepEqual([reset.status, attempts(reset)], [503, '3']);
      const conflict = await run.get('/4xx', { headers: { 'x-want-status': '409' } });
      assert.deepEqual([conflict.status, attempts(conflict)], [409, '2']);
    },
    'retries go to other hosts': async (run) => {
      for (let i = 0; i < 6; i++) assert.equal((await run.get('/hosts')).status, 200);
    },
  },
});
