import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { Pump } from './pump.ts';

/** Both ends of a TCP connection on loopback. */
async function pair(): Promise<readonly [Socket, Socket]> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [[far]] = await Promise.all([once(server, 'connection') as Promise<[Socket]>, once(near, 'connect')]);
  server.close();
  return [near, far];
}

for (const [limit, most] of [
  [4096, 4096],
  [1, 1024],
  [1024 * 1024, 128 * 1024],
] as const) {
  test(`a limit of ${limit} bytes: reads of at most ${most}, everything arrives`, async () => {
    const [client, source] = await pair();
    const [sink, server] = await pair();
    const sent = Buffer.from(Array.from({ length: 512 * 1024 }, (_, i) => i % 251));
    const sizes: number[] = [];
    new Pump(source, sink, (bytes) => sizes.push(bytes), limit).start();
    const got: Buffer[] = [];
    let bytes = 0;
    const all = new Promise<void>((resolve) => {
      server.on('data', (data: Buffer) => {
        got.push(data);
        bytes += data.length;
        if (bytes >= sent.length) resolve();
      });
    });
    client.write(sent);
    await all;
    assert.ok(Buffer.concat(got).equals(sent));
    assert.ok(Math.max(...sizes) <= most, `${Math.max(...sizes)}`);
    for (const socket of [client, source, sink, server]) socket.destroy();
  });
}
