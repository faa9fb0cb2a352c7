/** Workers that die or stand still under load: the others serve without an error, a new one takes the place. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ToWorker } from '../../src/proxy/server/messages.ts';
import type { ProxyServer } from '../../src/proxy/server/proxy_server.ts';
import {
  KeepAliveClient,
  TestControlPlane,
  freePort,
  serve,
  startApplication,
  startOn,
} from '../../src/proxy/server/testing.ts';
import { until } from './data_plane.ts';

const application = await startApplication('one');
after(() => {
  application.server.close();
  application.server.closeAllConnections();
});

/** Of this process, in which the workers run as threads. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Status of one request on a new connection; the error's code when there is no answer. */
async function ask(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1');
  try {
    await once(socket, 'connect');
    socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    const [text] = (await Promise.race([once(socket, 'data'), once(socket, 'close')])) as [string | boolean];
    return typeof text === 'string' ? text.slice(9, 12) : 'closed';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'error';
  } finally {
    socket.on('error', () => {});
    socket.destroy();
  }
}

for (const fault of ['break', 'stall'] as const)
  test(
    `a worker that ${fault === 'break' ? 'throws' : 'stands still'} under load`,
    { timeout: 120_000 },
    async () => {
      const plane = new TestControlPlane();
      const port = await freePort();
      await serve(plane, port, 'app', application.port).push();
      const { proxy, log } = await startOn(plane, 'delta', {
        concurrency: 2,
        inline: false,
        stuckAfterMs: 2000,
        workerEntry: new URL('./breakable_worker.ts', import.meta.url),
      });
      const server = proxy as ProxyServer;
      const clients: KeepAliveClient[] = [];
      const connections = async (): Promise<number[]> => server.pool.ask('connections');
      try {
        await until(() => proxy.ready(), 'ready');
        const base = descriptors();
        for (let i = 0; i < 24; i++) clients.push(new KeepAliveClient(port));
        await until(async () => (await connections()).every((count) => count > 0), 'both workers serve');
        await until(
          () => clients.every(({ answers }) => (answers.get('200 one') ?? 0) > 20),
          'all are served',
        );
        const before = await connections();
        const held = before[0] ?? 0;
        server.pool.postTo(0, { kind: fault } as unknown as ToWorker);
        await until(() => server.pool.replaced === 1, 'the end of the worker', 20_000);
        // The kernel gives new connections to who still listens.
        const statuses: string[] = [];
        for (let i = 0; i < 50; i++) statuses.push(await ask(port));
        assert.deepEqual([...new Set(statuses)], ['200']);
        const lost = clients.filter(({ closed }) => closed);
        assert.equal(lost.length, held, 'only the connections of that worker');
        const counts = new Map(clients.map((client) => [client, client.answers.get('200 one') ?? 0]));
        await until(
          () =>
            clients.every(
              (client) => client.closed || client.answers.get('200 one')! > counts.get(client)! + 20,
            ),
          'the others go on',
        );
        for (const client of clients) {
          const bad = [...client.answers.keys()].filter(
            (answer) => answer !== '200 one' && answer !== 'closed',
          );
          assert.deepEqual(bad, []);
        }
        const line = log.lines.find((text) => text.includes('worker is replaced'));
        assert.match(
          line ?? '',
          fault === 'break' ? /worker=0 error="broken by the test"/ : /worker=0 .*stood still for 2000 ms/,
        );
        // The new one has the configuration and its share of connections.
        const more: KeepAliveClient[] = [];
        await until(async () => {
          more.push(new KeepAliveClient(port));
          await sleep(10);
          return ((await connections())[0] ?? 0) > 0;
        }, 'the new worker serves');
        await until(
          () => more.every(({ answers }) => (answers.get('200 one') ?? 0) > 0),
          'all new ones are served',
        );
        clients.push(...more);
        assert.ok(more.every(({ closed }) => !closed));
        // What the dead worker held of shared counts was given back.
        const open = clients.filter(({ closed }) => !closed).length;
        await until(
          () => server.openConnections === open,
          () => `${server.openConnections} counted, ${open} open`,
        );
        // Neither the dead worker's sockets nor its loop are left.
        await Promise.all(clients.map((client) => client.stop()));
        await until(
          () => {
            application.server.closeIdleConnections();
            return descriptors() <= base + 2;
          },
          () => `descriptors: ${descriptors()}, before: ${base}`,
        );
      } finally {
        // Those that still wait for an answer hear of the end by it.
        const stopped = clients.map((client) => client.stop());
        await proxy.close();
        await Promise.all(stopped);
      }
    },
  );
