import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { before, test } from 'node:test';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { maxClientHelloBytes, parseClientHello } from './client_hello.ts';

/** The first bytes that a real client sends. */
async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connectTls({ ...options, port, host: '127.0.0.1' });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [import('node:net').Socket];
  const [data] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return data;
}

let hello: Buffer;
before(async () => {
  hello = await helloOf({
    servername: 'Outbound_.80_._.B.svc',
    ALPNProtocols: ['istio-peer-exchange', 'istio'],
  });
});

const expected = {
  kind: 'tls',
  serverName: 'outbound_.80_._.b.svc',
  applicationProtocols: ['istio-peer-exchange', 'istio'],
} as const;

/** The same message in records of at most `size` bytes. */
function cut(record: Buffer, size: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = 5; at < record.length; at += size) {
    const fragment = record.subarray(at, at + size);
    const head = Buffer.of(22, 3, 1, 0, 0);
    head.writeUInt16BE(fragment.length, 3);
    parts.push(head, fragment);
  }
  return Buffer.concat(parts);
}

test('a hello of a real client, whole and split at every byte', () => {
  assert.deepEqual(parseClientHello(hello), expected);
  for (let length = 0; length < hello.length; length++)
    assert.equal(parseClientHello(hello.subarray(0, length)).kind, 'more', `after ${length} bytes`);
  assert.deepEqual(parseClientHello(Buffer.concat([hello, Buffer.from('early data')])), expected);
});

test('a hello cut into several records', () => {
  for (const size of [1, 2, 3, 4, 5, 100]) {
    const record = cut(hello, size);
    assert.deepEqual(parseClientHello(record), expected, `records of ${size}`);
    assert.equal(parseClientHello(record.subarray(0, record.length - 1)).kind, 'more');
  }
});

test('a hello without SNI and ALPN', async () => {
  const plain = await helloOf({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
  assert.deepEqual(parseClientHello(plain), { kind: 'tls', serverName: '', applicationProtocols: [] });
});

test('what is not TLS is told from the first bytes', () => {
  for (const text of [
    'GET / HTTP/1.1\r\n\r\n',
    'PRI * HTTP/2.0',
    'SSH-2.0-x',
    '\x16\x02',
    '\x16\x03\x01\x00\x00',
    '\x17\x03\x03\x00\x10',
  ])
    assert.equal(parseClientHello(Buffer.from(text, 'latin1')).kind, 'not_tls', text);
  assert.equal(parseClientHello(Buffer.alloc(0)).kind, 'more');
  // Another handshake message than a client hello.
  assert.equal(parseClientHello(Buffer.of(22, 3, 1, 0, 4, 2, 0, 0, 0)).kind, 'not_tls');
});

test('a hello that never ends is given up at the bound', () => {
  const huge = Buffer.alloc(maxClientHelloBytes);
  Buffer.of(22, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff).copy(huge);
  assert.equal(parseClientHello(huge).kind, 'not_tls');
});

test('broken hellos never throw and never read past their end', () => {
  let seed = 99;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed % n;
  };
  for (let round = 0; round < 20_000; round++) {
    const broken = Buffer.from(hello);
    for (let i = random(4) + 1; i > 0; i--) broken[random(broken.length)] = random(256);
    const found = parseClientHello(
      broken.subarray(0, round % 3 === 0 ? random(broken.length) : broken.length),
    );
    if (found.kind === 'tls') assert.ok(found.serverName.length <= broken.length);
  }
});
