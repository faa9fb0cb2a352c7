/**
 * Both sides of HTTP/2 with mutated sessions. Whatever comes: no exception, every stream is told of its end once and hears
 * nothing after it, no stream is left when the connection is gone, bounds hold, and it does not matter where input is split.
 */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { RequestDecoder, ResponseDecoder, ResponseEncoder } from '#proxy/http/codec.ts';
import { HeaderMap, ResponseHeaderMap } from '#proxy/http/header_map.ts';
import { Http2ClientConnection } from '#proxy/http/http2/client_connection.ts';
import { FrameFlag, FrameType, uint32Text } from '#proxy/http/http2/frames/frame_header.ts';
import { goawayFrame } from '#proxy/http/http2/frames/goaway.ts';
import { settingsAck, settingsFrame } from '#proxy/http/http2/frames/settings.ts';
import { defaultHttp2Options } from '#proxy/http/http2/options.ts';
import { Http2ServerConnection } from '#proxy/http/http2/server_connection.ts';
import {
  clientPreface,
  data,
  frame,
  headers,
  rawField,
  requestBlock,
  requestHeaders,
  reset,
  responseBlock,
  windowUpdate,
} from '#proxy/http/http2/testing.ts';
import { beginBatch, endBatch, SocketIo } from '#proxy/http/socket_io.ts';
import { mutate, pick, randomFrom } from './mutate.ts';

const rounds = 8000;
const maxStreams = 20;

/** As much of a socket as the codec touches; closes when it is told to. */
class FakeSocket extends EventEmitter {
  writableLength = 0;
  writableHighWaterMark = 65_536;
  destroyed = false;
  readonly written: string[] = [];
  write(chunk: string | Buffer): boolean {
    this.written.push(typeof chunk === 'string' ? chunk : chunk.toString('latin1'));
    return true;
  }
  pause(): void {}
  resume(): void {}
  cork(): void {}
  uncork(): void {}
  end(): void {
    this.destroy();
  }
  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit('close');
  }
}

/** One stream's decoder that holds the codec to its promises. */
class Watcher implements RequestDecoder, ResponseDecoder {
  readonly log: string[];
  readonly #onEnd: () => void;
  ended = false;

  constructor(log: string[], onEnd: () => void) {
    this.log = log;
    this.#onEnd = onEnd;
  }

  #note(what: string, end: boolean): void {
    assert.ok(!this.ended, `${what} after the end`);
    this.log.push(what);
    if (!end) return;
    this.ended = true;
    this.#onEnd();
  }

  decode1xxHeaders(headersOf: ResponseHeaderMap): void {
    assert.ok(headersOf.status < 200);
    this.#note('1xx', false);
  }

  decodeHeaders(headersOf: HeaderMap, endStream: boolean): void {
    for (const [i, name] of headersOf.names.entries()) {
      assert.match(name, /^[!#$%&'*+\-.^_`|~0-9a-z]+$/);
      assert.doesNotMatch(headersOf.values[i]!, /[\0\r\n]/);
      assert.ok(!['connection', 'transfer-encoding', 'keep-alive', 'upgrade'].includes(name));
    }
    this.#note(`headers ${headersOf.names.join()}`, endStream);
  }

  decodeData(bytes: Buffer, endStream: boolean): void {
    assert.ok(!this.ended, 'data after the end');
    // Pieces of one body are one event: where they were cut says nothing.
    const last = this.log.at(-1) ?? '';
    if (last.startsWith('data '))
      this.log[this.log.length - 1] = `data ${Number(last.slice(5)) + bytes.length}`;
    else if (bytes.length > 0) this.log.push(`data ${bytes.length}`);
    if (endStream) this.#note('end', true);
  }

  decodeTrailers(): void {
    this.#note('trailers', true);
  }

  onResetStream(reason: string, details: string): void {
    // The response may still be on its way when its request is complete.
    this.log.push(`reset ${reason} ${details}`);
    this.ended = true;
  }

  onAboveWriteBufferHighWatermark(): void {}
  onBelowWriteBufferLowWatermark(): void {}
}

const options = { ...defaultHttp2Options, maxConcurrentStreams: maxStreams, delayedCloseMs: 0 };
const nobody = { onData() {}, onEnd() {}, onClose() {}, onDrain() {} };
const answer = new ResponseHeaderMap(['a'], ['b']);
answer.status = 200;

interface Outcome {
  readonly log: string;
  readonly written: string;
}

function feed(socket: FakeSocket, chunks: readonly Buffer[]): void {
  for (const chunk of chunks) if (!socket.destroyed) socket.emit('data', Buffer.from(chunk));
}

function serve(chunks: readonly Buffer[]): Outcome {
  const socket = new FakeSocket();
  const watchers: Watcher[] = [];
  const log: string[] = [];
  const connection = new Http2ServerConnection(
    new SocketIo(socket as unknown as Socket, nobody),
    {
      newStream(encoder: ResponseEncoder) {
        const watcher = new Watcher([], () => {
          encoder.encodeHeaders(answer, false);
          encoder.encodeData(Buffer.from('body'), false);
          encoder.encodeTrailers(new HeaderMap(['t'], ['v']));
        });
        watchers.push(watcher);
        assert.ok(connection.activeStreams <= maxStreams);
        return watcher;
      },
      onProtocolError() {},
      onClose() {},
    },
    options,
  );
  feed(socket, chunks);
  socket.destroy();
  assert.equal(connection.activeStreams, 0);
  for (const [i, watcher] of watchers.entries()) {
    assert.ok(watcher.ended, 'a stream was not told of its end');
    log.push(`${i}: ${watcher.log.join('; ')}`);
  }
  return { log: log.join('\n'), written: socket.written.join('') };
}

function ask(chunks: readonly Buffer[]): Outcome {
  const socket = new FakeSocket();
  let ends = 0;
  beginBatch();
  const connection = new Http2ClientConnection(
    socket as unknown as Socket,
    { onStreamEnd: () => ends++, onGoAway() {}, onClose() {} },
    options,
  );
  const watchers = Array.from({ length: 4 }, () => new Watcher([], () => {}));
  for (const [i, watcher] of watchers.entries()) {
    const encoder = connection.newStream(watcher);
    encoder.encodeHeaders(requestHeaders(i === 3 ? 'HEAD' : 'POST'), i !== 1);
    if (i === 1) encoder.encodeData(Buffer.from('body'), true);
  }
  endBatch();
  feed(socket, chunks);
  socket.destroy();
  assert.equal(connection.activeStreams, 0);
  assert.equal(connection.availableStreams, 0);
  assert.ok(ends <= 4);
  for (const watcher of watchers) assert.ok(watcher.ended, 'a stream was not told of its end');
  return { log: watchers.map((watcher) => watcher.log.join('; ')).join('\n'), written: '' };
}

const blockParts = requestBlock('POST', '/split', rawField('x', 'y'));

const sessions: readonly string[] = [
  headers(1, requestBlock(), true) +
    headers(3, requestBlock('POST', '/', '\x40\x01n\x01v'), false) +
    data(3, 'body', true),
  headers(1, requestBlock('POST', '/', rawField('content-length', '8')), false) +
    data(1, 'four') +
    frame(FrameType.data, FrameFlag.padded | FrameFlag.endStream, 1, '\x03four\0\0\0'),
  frame(FrameType.headers, 0, 1, blockParts.slice(0, 7)) +
    frame(FrameType.continuation, 0, 1, blockParts.slice(7, 12)) +
    frame(FrameType.continuation, FrameFlag.endHeaders, 1, blockParts.slice(12)) +
    headers(1, rawField('t', 'v'), true),
  frame(FrameType.ping, 0, 0, '12345678') +
    settingsFrame([
      [3, 5],
      [4, 100],
      [5, 20_000],
    ]) +
    windowUpdate(0, 1000) +
    headers(1, requestBlock(), true) +
    windowUpdate(1, 50) +
    frame(FrameType.priority, 0, 3, `${uint32Text(1)}\x10`) +
    reset(1, 8) +
    goawayFrame(0, 0),
  Array.from({ length: 12 }, (_, i) => headers(2 * i + 1, requestBlock('GET', `/${i}`), i % 3 !== 0)).join(
    '',
  ),
];

const answers: readonly string[] = [
  headers(1, responseBlock(), true) +
    headers(5, responseBlock(200, '\x40\x01n\x01v'), false) +
    data(5, 'body', true),
  headers(3, responseBlock(103), false) +
    headers(3, responseBlock(), false) +
    data(3, 'x') +
    headers(3, rawField('t', 'v'), true),
  headers(7, responseBlock(200, rawField('content-length', '9')), true) +
    reset(1, 7) +
    goawayFrame(3, 0) +
    reset(3, 8),
  headers(1, responseBlock(200, rawField('content-length', '4')), false) +
    data(1, 'four', true) +
    settingsFrame([[3, 1]]),
];

function split(random: () => number, bytes: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() * 40);
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

/** PING answers and resets may come earlier or later among the rest: only what streams hear is compared. */
function run(
  name: string,
  seed: number,
  corpus: readonly string[],
  prefix: string,
  play: (chunks: readonly Buffer[]) => Outcome,
): void {
  test(`${rounds} mutated sessions: ${name}`, () => {
    const random = randomFrom(seed);
    let clean = 0;
    for (let round = 0; round < rounds; round++) {
      const whole = mutate(random, Buffer.from(pick(random, corpus) + pick(random, corpus), 'latin1'));
      const bytes = Buffer.concat([Buffer.from(prefix, 'latin1'), whole]);
      const once = play([bytes]);
      assert.equal(play(split(random, bytes)).log, once.log, bytes.toString('hex'));
      if (!once.log.includes('protocol error')) clean++;
    }
    assert.ok(clean > rounds / 50 && clean < rounds, `${clean} of ${rounds} without an error`);
  });
}

run('server', 9113, sessions, clientPreface + settingsFrame([]) + settingsAck, serve);
run('client', 7540, answers, settingsFrame([]) + settingsAck, ask);
