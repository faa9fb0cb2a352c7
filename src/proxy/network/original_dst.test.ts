/** SO_ORIGINAL_DST behind real REDIRECT rules, in a network namespace of its own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { getOriginalDestination } from './original_dst.ts';
import {
  SocketOption,
  descriptorOf,
  getSocketOption,
  setSocketOption,
  socketOptionsProblem,
} from './socket_options.ts';

const probe = fileURLToPath(new URL('./original_dst_probe.ts', import.meta.url));

function missing(): string | false {
  const problem = socketOptionsProblem();
  if (problem !== undefined) return problem;
  const rules = 'iptables -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001';
  const tried = spawnSync('unshare', ['-n', 'sh', '-c', rules], { encoding: 'utf8' });
  return tried.status === 0
    ? false
    : `needs root, unshare and iptables: ${tried.stderr?.trim() ?? tried.error?.message}`;
}

test('the original destination of IPv4 and IPv6 connections', { skip: missing() }, () => {
  const commands = [
    'ip link set lo up',
    'ip addr add 10.0.0.1/8 dev lo',
    'ip -6 addr add 2001:db8::1/32 dev lo nodad',
    'iptables -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001',
    'ip6tables -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001',
    `exec "${process.execPath}" --disable-warning=ExperimentalWarning "${probe}"`,
  ];
  const child = spawnSync('unshare', ['-n', 'sh', '-e', '-c', commands.join('\n')], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.equal(child.status, 0, child.stderr);
  const [four, six, direct] = JSON.parse(child.stdout) as string[];
  assert.equal(four, '10.1.2.3 80');
  assert.equal(six, '2001:db8::7 80');
  // Conntrack knows every connection of a namespace with nat rules: an untouched one has its own address.
  assert.ok(direct === 'none' || direct === '127.0.0.1 15001', String(direct));
});

test(
  'socket options can be set and read',
  { skip: socketOptionsProblem() === undefined ? false : 'needs node:ffi' },
  async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    t.after(() => {
      client.destroy();
      server.close();
    });
    await once(client, 'connect');
    const fd = descriptorOf(client);
    assert.equal(setSocketOption(fd, SocketOption.SOL_TCP, SocketOption.TCP_USER_TIMEOUT, 4321), true);
    const value = Buffer.alloc(4);
    assert.equal(getSocketOption(fd, SocketOption.SOL_TCP, SocketOption.TCP_USER_TIMEOUT, value), 4);
    assert.equal(value.readInt32LE(), 4321);
    assert.equal(setSocketOption(fd, SocketOption.SOL_SOCKET, 9999, 1), false);
    assert.equal(setSocketOption(-1, SocketOption.SOL_SOCKET, 9, 1), false);
    // Where the machine tracks connections the kernel knows one that was not redirected too.
    const { port } = server.address() as AddressInfo;
    assert.equal(getOriginalDestination(client)?.port ?? port, port);
  },
);
