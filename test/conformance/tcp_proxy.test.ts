/** tcp_proxy: bytes both ways, ends, time limits, weights, limits, Unix sockets, source addresses. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { conformance } from '../harness/conformance.ts';
import { TcpServers, converse } from '../harness/tcp_client.ts';

const servers = new TcpServers();

conformance(import.meta.filename, {
  rows: ['5.4', '5.26', '5.36'],
  backends: [],
  async setUp(directory) {
    return {
      a: await servers.echo('a'),
      b: await servers.echo('b'),
      greeter: await servers.start((socket) => {
        socket.write('220 ready\r\n');
        socket.on('end', () => socket.end());
        socket.resume();
      }),
      teller: await servers.start((socket) => void socket.end(socket.remoteAddress ?? '')),
      pipe: await servers.echo('pipe', join(directory, 'app.sock')),
    };
  },
  tearDown: () => servers.stop(),
  cases: {
    'an end of one side is passed on, the other side goes on': async (run) => {
      const reply = await converse(run.port('in'), { write: 'hello' });
      assert.deepEqual([reply.text, reply.error], ['a:hello', '']);
      const [line] = await run.lines('in.log', 1);
      assert.match(line ?? '', /^5 7 - a - 127\.0\.0\.1:\d+$/);
      const text = (await run.admin('/stats')).body;
      assert.match(text, /^tcp\.first\.downstream_cx_total: 1$/m);
      assert.match(text, /^tcp\.first\.downstream_cx_rx_bytes_total: 5$/m);
      assert.match(text, /^tcp\.first\.downstream_cx_tx_bytes_total: 7$/m);
    },
    'chains by source address': async (run) => {
      const reply = await converse(run.port('in'), { write: 'x', localAddress: '127.0.0.2' });
      assert.equal(reply.text, 'b:x');
    },
    'a server that speaks first; the idle timeout ends the silence': async (run) => {
      const reply = await converse(run.port('first_words'), { end: false });
      assert.equal(reply.text, '220 ready\r\n');
      assert.ok(reply.durationMs > 350, `${reply.durationMs} ms`);
      const [line] = await run.lines('first_words.log', 1);
      assert.equal(line, '11 - -');
      assert.match((await run.admin('/stats')).body, /^tcp\.first_words\.idle_timeout: 1$/m);
    },
    'the longest duration of a connection': async (run) => {
      const reply = await converse(run.port('short'), { end: false });
      assert.equal(reply.text, '220 ready\r\n');
      assert.ok(reply.durationMs > 250 && reply.durationMs < 5000, `${reply.durationMs} ms`);
      assert.equal((await run.lines('short.log', 1))[0], 'DT -');
    },
    weights: async (run) => {
      let b = 0;
      for (let i = 0; i < 200; i++)
        if ((await converse(run.port('weighted'), { write: '' })).text === 'b:') b++;
      assert.ok(b > 115 && b < 185, `${b} of 200`);
    },
    'a host that refuses, after all attempts': async (run) => {
      const reply = await converse(run.port('broken'), { write: 'x' });
      assert.equal(reply.text, '');
      const [line] = await run.lines('broken.log', 1);
      assert.equal(line?.replaceAll('_', ' '), 'UF,URX delayed connect error: Connection refused');
      assert.equal(await run.stat('cluster.nobody_listens.upstream_cx_connect_fail'), 2);
    },
    'a cluster without hosts': async (run) => {
      assert.equal((await converse(run.port('empty'))).text, '');
      assert.equal((await run.lines('empty.log', 1))[0], 'UH');
    },
    'one connection too many': async (run) => {
      const first = connect(run.port('one'), '127.0.0.1');
      await once(first, 'data');
      assert.equal((await converse(run.port('one'))).text, '');
      assert.equal((await run.lines('one.log', 1))[0], 'UO');
      first.destroy();
    },
    'Unix sockets on both sides': async (run) => {
      const reply = await converse(0, { path: join(run.directory, 'in.sock'), write: 'x' });
      assert.equal(reply.text, 'pipe:x');
    },
    'one listener on IPv4 and IPv6; connections from 127.0.0.6': async (run) => {
      for (const host of ['127.0.0.1', '::1'])
        assert.equal((await converse(run.port('both'), { host })).text, '127.0.0.6', host);
    },
    'sixteen mebibytes arrive as they were sent, past a slow reader': async (run) => {
      const data = randomBytes(16 * 1024 * 1024);
      const socket = connect({ port: run.port('in'), host: '127.0.0.1', allowHalfOpen: true });
      socket.end(data);
      const hash = createHash('sha256');
      let length = 0;
      for await (const chunk of socket) {
        if (length % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
        hash.update((chunk as Buffer).subarray(length === 0 ? 2 : 0));
        length += (chunk as Buffer).length;
      }
      assert.equal(length, data.length + 2);
      assert.equal(hash.digest('hex'), createHash('sha256').update(data).digest('hex'));
    },
  },
});
