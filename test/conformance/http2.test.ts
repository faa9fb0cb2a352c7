/** HTTP/2 on either side: bridging, trailers, resets, upgrades by extended CONNECT, CONNECT that ends here. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, type IncomingHttpHeaders } from 'node:http2';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { conformance, type Run } from '../harness/conformance.ts';
import { Http2Backend, http2Session, sendHttp2 } from '../harness/http2_peer.ts';

let backend: Http2Backend;
let tcp: Server;
let refusals = 0;

/** Waits for the access-log line of a path. */
async function line(run: Run, path: string): Promise<string | undefined> {
  for (let i = 0; i < 100; i++) {
    const found = (await run.lines('access.log', 0)).find((text) => text.includes(` ${path} `));
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return undefined;
}

/** Text over a socket until it matches. */
async function talk(port: number, input: string, until: RegExp, then?: [string, RegExp]): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1');
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  socket.write(input);
  const wait = async (pattern: RegExp): Promise<void> => {
    const end = performance.now() + 5000;
    while (!pattern.test(text)) {
      if (performance.now() > end) throw new Error(`got only ${JSON.stringify(text)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await wait(until);
  if (then !== undefined) {
    socket.write(then[0]);
    await wait(then[1]);
  }
  socket.destroy();
  return text;
}

conformance(import.meta.filename, {
  rows: ['5.1', '5.2'],
  async setUp() {
    backend = await Http2Backend.start((stream, headers, body) => {
      const path = String(headers[':path']);
      if (path.startsWith('/retry') && refusals-- > 0)
        return void stream.close(constants.NGHTTP2_REFUSED_STREAM);
      if (path === '/open/reset') {
        stream.respond({ ':status': 200 });
        stream.write('part');
        setTimeout(() => stream.destroy(new Error('reset')), 50);
        return;
      }
      if (path === '/open/early') return void stream.respond({ ':status': 413 }, { endStream: true });
      if (headers[':method'] === 'CONNECT') {
        stream.respond({ ':status': 200, 'x-protocol': String(headers[':protocol']) });
        stream.on('data', (chunk: Buffer) => void stream.write(chunk));
        return;
      }
      const status = Number(headers['x-want-status'] ?? 200);
      if (headers[':method'] === 'HEAD' || status === 204 || status === 304)
        return void stream.respond({ ':status': status, 'x-path': path }, { endStream: true });
      stream.respond({ ':status': status, 'x-path': path }, { waitForTrailers: true });
      stream.on('wantTrailers', () =>
        stream.sendTrailers({ 'x-end': 'yes', 'x-got': String(backend.trailers['x-up'] ?? '') }),
      );
      stream.end(JSON.stringify({ headers, body: body.toString() }));
    });
    tcp = createServer((socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    return {
      http2_port: String(backend.port),
      tcp_port: String((tcp.address() as AddressInfo).port),
    };
  },
  async tearDown() {
    await backend.stop();
    tcp.close();
  },
  cases: {
    'HTTP/2 to HTTP/2: body and trailers both ways': async (run) => {
      const answer = await sendHttp2(
        run.port('in'),
        { ':path': '/a', ':method': 'POST', te: 'trailers' },
        { body: 'hello', trailers: { 'x-up': '1' } },
      );
      assert.equal(answer.status, 200);
      const { headers, body } = JSON.parse(answer.body) as { headers: IncomingHttpHeaders; body: string };
      assert.equal(body, 'hello');
      assert.equal(headers['te'], 'trailers');
      assert.equal(headers[':scheme'], 'http');
      assert.deepEqual([answer.trailers['x-end'], answer.trailers['x-got']], ['yes', '1']);
      assert.equal(await line(run, '/a'), 'POST /a HTTP/2 200 - via_upstream HTTP/2');
    },
    'HTTP/2 to HTTP/1: trailers, HEAD, 204, 304': async (run) => {
      const answer = await sendHttp2(
        run.port('in'),
        { ':path': '/one', ':method': 'POST' },
        { body: 'abc', trailers: { 'x-up': '2' } },
      );
      const echo = JSON.parse(answer.body) as {
        body: string;
        headers: IncomingHttpHeaders;
        trailers: IncomingHttpHeaders;
      };
      assert.deepEqual(
        [echo.body, echo.trailers['x-up'], echo.headers['transfer-encoding']],
        ['abc', '2', 'chunked'],
      );
      assert.equal(answer.headers['transfer-encoding'], undefined);
      const head = await sendHttp2(run.port('in'), { ':path': '/one', ':method': 'HEAD' });
      assert.deepEqual([head.status, head.body], [200, '']);
      for (const status of [204, 304]) {
        const none = await sendHttp2(run.port('in'), { ':path': '/one', 'x-want-status': String(status) });
        assert.deepEqual([none.status, none.body, none.resetCode], [status, '', 0]);
      }
      assert.equal(await run.stat('cluster.one.upstream_cx_http2_total'), 0);
    },
    'HTTP/1 to HTTP/2: chunked body, trailers, HEAD, 204': async (run) => {
      const text = await talk(
        run.port('in'),
        'POST /b HTTP/1.1\r\nhost: h\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-up: 3\r\n\r\n',
        /x-got: 3\r\n\r\n$/i,
      );
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
      assert.match(text, /\r\ntransfer-encoding: chunked\r\n/);
      assert.match(text, /\\"body\\"|"body":"abc"/);
      const head = await run.get('/b', { method: 'HEAD' });
      assert.deepEqual([head.status, head.body, head.headers['x-path']], [200, '', '/b']);
      const none = await run.get('/b', { headers: { 'x-want-status': '204' } });
      assert.deepEqual(
        [none.status, none.headers['transfer-encoding'], none.headers['content-length']],
        [204, undefined, undefined],
      );
      assert.equal(await line(run, '/b'), 'POST /b HTTP/1.1 200 - via_upstream HTTP/2');
    },
    'the version of the client, where the cluster says so': async (run) => {
      assert.equal((await run.get('/same1')).status, 200);
      assert.equal((await sendHttp2(run.port('in'), { ':path': '/same2' })).status, 200);
      assert.equal(await line(run, '/same1'), 'GET /same1 HTTP/1.1 200 - via_upstream HTTP/1.1');
      assert.equal(await line(run, '/same2'), 'GET /same2 HTTP/2 200 - via_upstream HTTP/2');
    },
    'many streams share one upstream connection': async (run) => {
      const before = await run.stat('cluster.two.upstream_cx_total');
      const session = http2Session(run.port('in'));
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, i) => sendHttp2(0, { ':path': `/m${i}` }, { session })),
      );
      session.destroy();
      answers.forEach((answer, i) => assert.equal(answer.headers['x-path'], `/m${i}`));
      assert.ok((await run.stat('cluster.two.upstream_cx_total')) <= Math.max(1, before));
    },
    'a refused stream is retried': async (run) => {
      refusals = 1;
      const answer = await sendHttp2(run.port('in'), { ':path': '/retry' });
      assert.equal(answer.status, 200);
      assert.equal(await run.stat('cluster.two.upstream_rq_retry'), 1);
    },
    'a reset of the upstream after headers resets the stream': async (run) => {
      const answer = await sendHttp2(run.port('in'), { ':path': '/open/reset' });
      assert.equal(answer.status, 200);
      assert.equal(answer.body, 'part');
      assert.equal(answer.resetCode, constants.NGHTTP2_INTERNAL_ERROR);
      assert.equal(
        await line(run, '/open/reset'),
        'GET /open/reset HTTP/2 200 UR upstream_reset_after_response_started{remote_reset} HTTP/2',
      );
    },
    'an answer before the end of the request': async (run) => {
      const session = http2Session(run.port('in'));
      const stream = session.request({ ':path': '/open/early', ':method': 'POST' });
      stream.on('error', () => {});
      stream.write('part');
      const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
      assert.equal(Number(headers[':status']), 413);
      stream.resume();
      await once(stream, 'close');
      assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR);
      assert.equal((await sendHttp2(0, { ':path': '/after' }, { session })).status, 200);
      session.destroy();
    },
    'a refused connection': async (run) => {
      const answer = await sendHttp2(run.port('in'), { ':path': '/dead' });
      assert.equal(answer.status, 503);
      assert.match(answer.body, /^upstream connect error or disconnect\/reset before headers\. /);
    },
    'WebSocket: HTTP/1 client, HTTP/2 upstream': async (run) => {
      const text = await talk(
        run.port('in'),
        'GET /open/ws HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n',
        /\r\n\r\n$/,
        ['ping', /ping$/],
      );
      assert.match(text, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
      assert.match(text, /\r\nupgrade: websocket\r\n/i);
      assert.match(text, /\r\nconnection: upgrade\r\n/i);
      assert.match(text, /\r\nx-protocol: websocket\r\n/);
    },
    'WebSocket: HTTP/2 client, HTTP/2 upstream': async (run) => {
      const session = http2Session(run.port('in'));
      await once(session, 'remoteSettings');
      const stream = session.request({
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':path': '/open/ws2',
        ':scheme': 'http',
        ':authority': 'h',
      });
      stream.on('error', () => {});
      const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
      assert.deepEqual(
        [Number(headers[':status']), headers['x-protocol'], headers['upgrade']],
        [200, 'websocket', undefined],
      );
      stream.write('pong');
      const [data] = (await once(stream, 'data')) as [Buffer];
      assert.equal(data.toString(), 'pong');
      session.destroy();
    },
    'an upgrade that is not answered in time': async (run) => {
      const text = await talk(
        run.port('in'),
        'GET /slow HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n',
        /\r\n\r\n/,
      );
      assert.match(text, /^HTTP\/1\.1 504 /);
    },
    'upgrades that are not allowed': async (run) => {
      const text = await talk(
        run.port('in'),
        'GET /x HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: other\r\n\r\n',
        /\r\n\r\n/,
      );
      assert.match(text, /^HTTP\/1\.1 403 /);
    },
    'CONNECT ends here: HTTP/1 and HTTP/2': async (run) => {
      const text = await talk(run.port('in'), 'CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n', /\r\n\r\n$/, [
        'one',
        /one$/,
      ]);
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
      const session = http2Session(run.port('in'));
      const stream = session.request({ ':method': 'CONNECT', ':authority': 'h:1' });
      stream.on('error', () => {});
      const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
      assert.equal(Number(headers[':status']), 200);
      stream.write('two');
      const [data] = (await once(stream, 'data')) as [Buffer];
      assert.equal(data.toString(), 'two');
      session.destroy();
    },
  },
});
