import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { after, test, type TestContext } from 'node:test';
import { connect as tlsConnect, createServer as createTlsServer } from 'node:tls';
import { batchNow, beginBatch, endBatch, type IoListener, SocketIo } from './socket_io.ts';

const directory = mkdtempSync(join(tmpdir(), 'socket-io-'));
after(() => rmSync(directory, { recursive: true }));
const keyFile = join(directory, 'key.pem');
const certFile = join(directory, 'cert.pem');
execFileSync(
  'openssl',
  [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=t',
    '-keyout',
    keyFile,
    '-out',
    certFile,
  ],
  { stdio: 'pipe' },
);

class Recorder implements IoListener {
  chunks: Buffer[] = [];
  ended = false;
  closed = false;
  drains = 0;
  onChunk: (chunk: Buffer) => void = () => {};
  onData(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.onChunk(chunk);
  }
  onEnd(): void {
    this.ended = true;
  }
  onClose(): void {
    this.closed = true;
  }
  onDrain(): void {
    this.drains++;
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

interface Pair {
  /** The side under test. */
  readonly near: Socket;
  readonly far: Duplex;
}

type MakePair = (t: TestContext) => Promise<Pair>;

const plain: MakePair = async (t) => {
  const server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [near] = (await once(server, 'connection')) as [Socket];
  t.after(() => {
    server.close();
    near.destroy();
    far.destroy();
  });
  far.on('error', () => {});
  return { near, far };
};

const tls: MakePair = async (t) => {
  const server = createTlsServer({ key: readFileSync(keyFile), cert: readFileSync(certFile) });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = tlsConnect({ port: (server.address() as { port: number }).port, rejectUnauthorized: false });
  const [near] = (await once(server, 'secureConnection')) as [Socket];
  t.after(() => {
    server.close();
    near.destroy();
    far.destroy();
  });
  far.on('error', () => {});
  return { near, far };
};

const streams: MakePair = (t) => {
  const [near, far] = duplexPair();
  t.after(() => {
    near.destroy();
    far.destroy();
  });
  return Promise.resolve({ near: near as Socket, far });
};

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(condition());
}

for (const [name, make] of Object.entries({ plain, tls, streams })) {
  test(`${name}: pieces of every size arrive whole, both ways`, async (t) => {
    const { near, far } = await make(t);
    const recorder = new Recorder();
    const io = new SocketIo(near, recorder);
    const sizes = [1, 100, 8191, 8192, 8193, 40_000, 70_000, 1, 300_000, 5];
    const sent = sizes.map((size, i) => Buffer.alloc(size, 65 + i));
    const back: Buffer[] = [];
    far.on('data', (chunk: Buffer) => back.push(chunk));
    for (const piece of sent) {
      far.write(piece);
      io.writeBuffer(piece);
      io.writeText('text');
    }
    const expectedBack = Buffer.concat(sent.flatMap((piece) => [piece, Buffer.from('text')]));
    const expected = Buffer.concat(sent);
    await until(() => recorder.bytes.length === expected.length);
    await until(() => Buffer.concat(back).length === expectedBack.length);
    assert.ok(recorder.bytes.equals(expected));
    assert.ok(Buffer.concat(back).equals(expectedBack));
    assert.equal(io.bytesRead, expected.length);
    assert.equal(io.bytesWritten, expectedBack.length);
  });

  test(`${name}: chunks stay as they are after later reads`, async (t) => {
    const { near, far } = await make(t);
    const recorder = new Recorder();
    void new SocketIo(near, recorder);
    for (let i = 0; i < 50; i++) {
      far.write(Buffer.alloc(1000, i));
      await until(() => recorder.bytes.length === (i + 1) * 1000);
    }
    for (let i = 0; i < 50; i++) assert.equal(recorder.bytes[i * 1000 + 500], i);
  });

  test(`${name}: a pause stops reading, pauses count`, async (t) => {
    const { near, far } = await make(t);
    const recorder = new Recorder();
    const io = new SocketIo(near, recorder);
    far.write('a');
    await until(() => recorder.bytes.length === 1);
    io.pause();
    io.pause();
    far.write('b');
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(recorder.bytes.toString(), 'a');
    io.resume();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(recorder.bytes.toString(), 'a');
    io.resume();
    await until(() => recorder.bytes.toString() === 'ab');
  });

  test(`${name}: what a slow reader leaves is counted, then drained`, async (t) => {
    const { near, far } = await make(t);
    const recorder = new Recorder();
    const io = new SocketIo(near, recorder);
    far.pause();
    let written = 0;
    while (io.queuedBytes < 4_000_000) {
      io.writeBuffer(Buffer.alloc(100_000, 1));
      written += 100_000;
      await new Promise((resolve) => setImmediate(resolve));
    }
    let received = 0;
    far.on('data', (chunk: Buffer) => (received += chunk.length));
    far.resume();
    await until(() => received === written);
    await until(() => io.queuedBytes === 0);
    assert.ok(recorder.drains > 0);
  });

  test(`${name}: end comes after all that was written`, async (t) => {
    const { near, far } = await make(t);
    const io = new SocketIo(near, new Recorder());
    let received = 0;
    far.on('data', (chunk: Buffer) => (received += chunk.length));
    io.writeText('head');
    for (let i = 0; i < 20; i++) io.writeBuffer(Buffer.alloc(100_000));
    io.writeText('tail');
    const ended = once(far, 'end');
    io.end();
    io.writeText('too late');
    await ended;
    assert.equal(received, 2_000_008);
  });

  test(`${name}: end and close are told`, async (t) => {
    const { near, far } = await make(t);
    const recorder = new Recorder();
    const io = new SocketIo(near, recorder);
    far.end('last');
    await until(() => recorder.ended);
    assert.equal(recorder.bytes.toString(), 'last');
    io.destroy();
    await until(() => recorder.closed);
    assert.ok(io.closed);
    io.writeText('nobody hears');
    io.pause();
    io.resume();
  });
}

test('bytes put back before come first', async (t) => {
  const { near, far } = await plain(t);
  far.write('peeked');
  near.resume();
  const [peeked] = (await once(near, 'data')) as [Buffer];
  near.pause();
  near.unshift(peeked);
  const recorder = new Recorder();
  void new SocketIo(near, recorder);
  near.resume();
  far.write(' and more');
  await until(() => recorder.bytes.toString() === 'peeked and more');
});

test('a batch is one write, and reads the clock once', async (t) => {
  const { near, far } = await plain(t);
  const io = new SocketIo(near, new Recorder());
  const chunks: Buffer[] = [];
  far.on('data', (chunk: Buffer) => chunks.push(chunk));
  beginBatch();
  beginBatch();
  const now = batchNow();
  for (let i = 0; i < 10; i++) io.writeText('x');
  io.writeBuffer(Buffer.from('y'));
  endBatch();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(batchNow(), now);
  assert.equal(chunks.length, 0);
  endBatch();
  await until(() => chunks.length === 1);
  assert.equal(chunks[0]?.toString(), 'xxxxxxxxxxy');
  assert.ok(batchNow() > now);
});
