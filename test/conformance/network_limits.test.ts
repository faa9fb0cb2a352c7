/** Limits on connections (envoy.filters.network.local_ratelimit, connection_limit). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { conformance, type Run } from '../harness/conformance.ts';

interface Client {
  readonly socket: Socket;
  /** `open` when an answer came, else how the connection ended. */
  readonly outcome: 'open' | 'closed';
  /** Milliseconds until that was known. */
  readonly tookMs: number;
}

/** Connects, sends a request and waits for the first byte or the end. */
async function dial(run: Run, listener: string): Promise<Client> {
  const started = performance.now();
  const socket = connect(run.port(listener), '127.0.0.1');
  socket.on('error', () => {});
  socket.write('GET / HTTP/1.1\r\nhost: app\r\n\r\n');
  const outcome = await Promise.race([
    once(socket, 'data').then(() => 'open' as const),
    once(socket, 'close').then(() => 'closed' as const),
  ]).catch(() => 'closed' as const);
  return { socket, outcome, tookMs: performance.now() - started };
}

async function until(run: Run, stat: string, value: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if ((await run.stat(stat)) === value) return;
    await sleep(10);
  }
  assert.fail(`${stat} is not ${value}`);
}

conformance(import.meta.filename, {
  rows: ['6.7'],
  cases: {
    'new connections take tokens': async (run) => {
      const clients: Client[] = [];
      for (let i = 0; i < 4; i++) clients.push(await dial(run, 'rate'));
      assert.deepEqual(
        clients.map(({ outcome }) => outcome),
        ['open', 'open', 'closed', 'closed'],
      );
      assert.equal(await run.stat('local_rate_limit.burst.rate_limited'), 2);
      for (const { socket } of clients) socket.destroy();
      const idle = [await dial(run, 'off'), await dial(run, 'off')];
      assert.deepEqual(
        idle.map(({ outcome }) => outcome),
        ['open', 'open'],
      );
      for (const { socket } of idle) socket.destroy();
    },
    'open connections are counted, and places become free': async (run) => {
      const clients = [await dial(run, 'open'), await dial(run, 'open'), await dial(run, 'open')];
      assert.deepEqual(
        clients.map(({ outcome }) => outcome),
        ['open', 'open', 'closed'],
      );
      assert.equal(await run.stat('connection_limit.few.limited_connections'), 1);
      await until(run, 'connection_limit.few.active_connections', 2);
      clients[0]?.socket.destroy();
      await until(run, 'connection_limit.few.active_connections', 1);
      const next = await dial(run, 'open');
      assert.equal(next.outcome, 'open');
      for (const { socket } of [...clients, next]) socket.destroy();
      await until(run, 'connection_limit.few.active_connections', 0);
    },
    'a connection too many is held before it is closed': async (run) => {
      const first = await dial(run, 'late');
      const second = await dial(run, 'late');
      assert.deepEqual([first.outcome, second.outcome], ['open', 'closed']);
      assert.ok(second.tookMs > 280, `closed after ${second.tookMs} ms`);
      first.socket.destroy();
      await until(run, 'connection_limit.slow.active_connections', 0);
    },
  },
});
