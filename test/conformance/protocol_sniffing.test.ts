/** tls_inspector, http_inspector, listener_filters_timeout, filter_disabled. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { conformance } from '../harness/conformance.ts';
import { TcpServers, converse } from '../harness/tcp_client.ts';

const servers = new TcpServers();

conformance(import.meta.filename, {
  rows: ['5.4', '5.9'],
  backends: [],
  setUp: async () => ({
    greeter: await servers.start((socket) => {
      socket.write('220 ready ');
      socket.on('data', (data: Buffer) => socket.end(data));
    }),
    tls: await servers.start((socket) => {
      socket.once('data', (data: Buffer) => socket.end(`tls ${data[0]}`));
    }),
    end: '65535',
  }),
  tearDown: () => servers.stop(),
  cases: {
    'HTTP is seen as HTTP, in one piece and byte by byte': async (run) => {
      assert.equal((await run.get('/')).body, 'http');
      const socket = connect(run.port('in'), '127.0.0.1');
      socket.setNoDelay();
      for (const byte of 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n') {
        socket.write(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
      let text = '';
      for await (const data of socket) text += String(data);
      assert.match(text, /^HTTP\/1\.1 200 OK[^]*http$/);
    },
    'HTTP/1.0 and the preface of HTTP/2 are HTTP': async (run) => {
      const old = await converse(run.port('in'), { write: 'GET / HTTP/1.0\r\n\r\n', end: false });
      assert.match(old.text, / 200 OK/);
      const preface = await converse(run.port('in'), {
        write: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0',
      });
      assert.ok(!preface.text.includes('220'), 'not the greeter');
    },
    'TLS is seen as TLS': async (run) => {
      const reply = await converse(run.port('in'), { tls: { servername: 'x.y' }, end: false });
      assert.notEqual(reply.error, '');
      assert.match((await run.admin('/stats')).body, /^tcp\.tls\.downstream_cx_total: 1$/m);
    },
    'other bytes are passed on at once': async (run) => {
      const reply = await converse(run.port('in'), { write: 'HELLO there\r\n', end: false });
      assert.equal(reply.text, '220 ready HELLO there\r\n');
      assert.ok(reply.durationMs < 250, `${reply.durationMs} ms`);
    },
    'a client that waits for the server gets on after the timeout': async (run) => {
      const start = performance.now();
      const socket = connect(run.port('in'), '127.0.0.1');
      const [data] = (await once(socket, 'data', { signal: AbortSignal.timeout(5000) })) as [Buffer];
      assert.equal(data.toString(), '220 ready ');
      const waited = performance.now() - start;
      assert.ok(waited > 250 && waited < 3000, `${waited} ms`);
      socket.destroy();
    },
    'without continue_on_listener_filters_timeout it is closed': async (run) => {
      const reply = await converse(run.port('impatient'), { end: false });
      assert.equal(reply.text, '');
      assert.ok(reply.durationMs > 250 && reply.durationMs < 3000, `${reply.durationMs} ms`);
      assert.equal((await run.get('/')).body, 'http');
    },
    'a filter that is switched off for the port asks nobody to wait': async (run) => {
      const start = performance.now();
      const socket = connect(run.port('switched_off'), '127.0.0.1');
      await once(socket, 'data', { signal: AbortSignal.timeout(5000) });
      assert.ok(performance.now() - start < 3000);
      socket.destroy();
    },
  },
});
