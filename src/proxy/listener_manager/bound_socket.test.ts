import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { type Socket, connect } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { socketOptionsProblem } from '../network/socket_options.ts';
import { type BoundSocket, bind } from './bound_socket.ts';
import type { BindAddress } from './listener_version.ts';

function start(
  t: TestContext,
  address: Partial<BindAddress> & { ip: string; port: number },
  config: object,
  onConnection: (socket: Socket) => void,
): Promise<{ bound: BoundSocket; error: Error | undefined }> {
  return new Promise((resolve) => {
    const full = { ipv6Only: false, mode: 0, ...address };
    const listener = create(ListenerSchema, config as never);
    const bound: BoundSocket = bind(full, listener, onConnection, (error) => resolve({ bound, error }));
    t.after(() => bound.server.close());
  });
}

async function ask(path: string): Promise<string> {
  const socket = connect(path);
  const [data] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return data.toString();
}

test('a Unix socket: mode bits, a second worker, a file that was left behind', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-bind-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const ip = join(directory, 's');
  const first = await start(t, { ip, port: -1, mode: 0o600 }, {}, (socket) => void socket.end('one'));
  assert.equal(first.error, undefined);
  const second = await start(t, { ip, port: -1 }, {}, (socket) => void socket.end('two'));
  assert.equal(second.error, undefined, 'the first one serves');
  assert.equal(await ask(ip), 'one');
  assert.equal(statSync(ip).mode & 0o777, 0o600);

  const left = join(directory, 'left');
  const gone = await start(t, { ip: join(directory, 'gone'), port: -1 }, {}, () => {});
  renameSync(join(directory, 'gone'), left);
  gone.bound.server.close();
  await once(gone.bound.server, 'close');
  assert.ok(existsSync(left));
  const third = await start(t, { ip: left, port: -1 }, {}, (socket) => void socket.end('three'));
  assert.equal(third.error, undefined);
  assert.equal(await ask(left), 'three');
});

test(
  'freebind takes an address that is not there',
  { skip: socketOptionsProblem() === undefined ? false : 'needs node:ffi' },
  async (t) => {
    const address = { ip: '198.51.100.7', port: 0 };
    const plain = await start(t, address, {}, () => {});
    assert.match(plain.error?.message ?? '', /EADDRNOTAVAIL/);
    const free = await start(t, address, { freebind: true }, () => {});
    assert.equal(free.error, undefined);
    assert.equal((free.bound.server.address() as { address: string }).address, '198.51.100.7');
    // Loopback, to see that such a socket accepts.
    const local = await start(t, { ip: '127.0.0.1', port: 0 }, { freebind: true }, (socket) => {
      socket.end(socket.remoteAddress ?? '');
    });
    const { port } = local.bound.server.address() as { port: number };
    const socket = connect(port, '127.0.0.1');
    const [data] = (await once(socket, 'data')) as [Buffer];
    assert.equal(data.toString(), '127.0.0.1');
    socket.destroy();
  },
);
