/** Ten thousand connections that do nothing: the proxy goes on, and afterwards has back what they took. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { test } from 'node:test';
import { EchoBackend } from '../harness/echo_backend.ts';
import { send } from '../harness/http_request.ts';
import { DataPlaneProcess, adminYaml, httpFilters, staticCluster, until } from './data_plane.ts';

/** Descriptors that this process and the proxy may have. */
const limit = Number(execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }));
const wanted = Math.min(10_000, limit - 500);

const yaml = `${adminYaml}
static_resources:
  listeners:
    - name: in
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:in} } }
      filter_chains: [{ filters: ${httpFilters('in')} }]
  clusters: [${staticCluster('app', '${app}')}]
`;

async function open(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const batch = Array.from({ length: Math.min(200, count - sockets.length) }, () =>
      connect(port, '127.0.0.1'),
    );
    await Promise.all(batch.map((socket) => once(socket, 'connect')));
    for (const socket of batch) socket.on('error', () => {});
    sockets.push(...batch);
  }
  return sockets;
}

test(`${wanted} idle connections (descriptor limit ${limit})`, { timeout: 120_000 }, async (t) => {
  const backend = await EchoBackend.start('app');
  const plane = await DataPlaneProcess.start('trysail', { yaml, values: { app: backend.port } });
  const active = (): Promise<number> => plane.stat(`listener.127.0.0.1_${plane.port()}.downstream_cx_active`);
  try {
    for (let i = 0; i < 200; i++) await send(plane.port());
    const base = { descriptors: plane.descriptors(), rss: plane.rss() };
    const after: number[] = [];
    for (let round = 0; round < 3; round++) {
      const sockets = await open(plane.port(), wanted);
      await until(async () => (await active()) >= wanted, 'all are accepted', 30_000);
      assert.equal((await send(plane.port())).status, 200);
      // One of the many still works.
      const [first] = sockets;
      first?.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
      const [data] = first === undefined ? [''] : ((await once(first, 'data')) as [Buffer]);
      assert.match(String(data), /^HTTP\/1\.1 200 /);
      if (round === 0) t.diagnostic(`${((plane.rss() - base.rss) * 1024) / wanted} KiB a connection`);
      for (const socket of sockets) socket.destroy();
      await until(async () => (await active()) === 0, 'all are gone', 30_000);
      await until(
        () => plane.descriptors() <= base.descriptors + 4,
        () => `descriptors: ${plane.descriptors()}, before: ${base.descriptors}`,
      );
      after.push(plane.rss());
    }
    t.diagnostic(
      `RSS ${base.rss.toFixed(0)} MiB, after each round ${after.map((mib) => mib.toFixed(0)).join(', ')}`,
    );
    // What the heap has grown to is used again.
    assert.ok(after[2]! < after[0]! + 15, `after each round: ${after.join(', ')} MiB`);
  } finally {
    await plane.stop();
    await backend.stop();
  }
});
