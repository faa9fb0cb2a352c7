/** Fixtures for codec tests: one side of a connection in memory, the other played by the test, frame by frame. */
import { type Duplex, duplexPair } from 'node:stream';
import type { Socket } from 'node:net';
import type {
  ClientConnectionCallbacks,
  RequestDecoder,
  ResponseEncoder,
  ServerConnectionCallbacks,
} from '../codec.ts';
import { RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import type { HeaderName } from '../header_names.ts';
import { HpackDecoder } from '../hpack/decoder.ts';
import {
  encodeAuthority,
  encodeMethod,
  encodePath,
  encodeScheme,
  encodeStatus,
  integerText,
} from '../hpack/encoder.ts';
import { answerOk, RecordingDecoder } from '../http1/testing.ts';
import { SocketIo } from '../socket_io.ts';
import { Http2ClientConnection } from './client_connection.ts';
import { FrameFlag, FrameType, frameHeader, readUint32, uint32Text } from './frames/frame_header.ts';
import { headersFrames } from './frames/headers.ts';
import { settingsAck, settingsFrame } from './frames/settings.ts';
import { defaultHttp2Options, type Http2Options } from './options.ts';
import { Http2ServerConnection } from './server_connection.ts';

export const clientPreface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

const nobody = { onData() {}, onEnd() {}, onClose() {}, onDrain() {} };

/** Any frame. */
export function frame(type: number, flags: number, streamId: number, payload = ''): string {
  return frameHeader(payload.length, type, flags, uint32Text(streamId)) + payload;
}

/** A literal field as it stands, also a malformed one. */
export function rawField(name: string, value: string): string {
  return `\x00${integerText(name.length, 7, 0)}${name}${integerText(value.length, 7, 0)}${value}`;
}

/** Header block of a request. */
export function requestBlock(method = 'GET', path = '/', more = ''): string {
  return encodeMethod(method) + encodeScheme('http') + encodePath(path) + encodeAuthority('host') + more;
}

export function responseBlock(status = 200, more = ''): string {
  return encodeStatus(status) + more;
}

export function headers(streamId: number, block: string, endStream: boolean): string {
  return headersFrames(block, endStream, uint32Text(streamId), 16_384);
}

export function data(streamId: number, body: string, endStream = false): string {
  return frame(FrameType.data, endStream ? FrameFlag.endStream : 0, streamId, body);
}

export function reset(streamId: number, code: number): string {
  return frame(FrameType.rstStream, 0, streamId, uint32Text(code));
}

export function windowUpdate(streamId: number, increment: number): string {
  return frame(FrameType.windowUpdate, 0, streamId, uint32Text(increment));
}

/** The far end: reads frames and notes one line for each. */
export class Peer {
  readonly far: Duplex;
  /** Frames since the handshake. */
  lines: string[] = [];
  ended = false;
  #input = Buffer.alloc(0);
  readonly #decoder = new HpackDecoder(4096);
  #skip: number;

  /** @param skip octets of the preface before the first frame. */
  constructor(far: Duplex, skip: number) {
    this.far = far;
    this.#skip = skip;
    far.on('data', (chunk: Buffer) => this.#read(chunk));
    far.on('end', () => {
      this.ended = true;
      far.end();
    });
    far.on('error', () => {});
  }

  send(...frames: string[]): void {
    this.far.write(frames.join(''), 'latin1');
  }

  /** Lines so far; the next call gives later ones. */
  take(): string[] {
    const { lines } = this;
    this.lines = [];
    return lines;
  }

  #read(chunk: Buffer): void {
    let input = Buffer.concat([this.#input, chunk]);
    const skipped = Math.min(this.#skip, input.length);
    this.#skip -= skipped;
    input = input.subarray(skipped);
    while (input.length >= 9 && input.length >= 9 + input.readUIntBE(0, 3)) {
      const end = 9 + input.readUIntBE(0, 3);
      this.lines.push(this.#line(input.subarray(0, end)));
      input = input.subarray(end);
    }
    this.#input = input;
  }

  #line(bytes: Buffer): string {
    const [type, flags, id] = [bytes[3], bytes.readUInt8(4), readUint32(bytes, 5)];
    const payload = bytes.subarray(9);
    const end = (flags & FrameFlag.endStream) !== 0 ? ' end' : '';
    switch (type) {
      case FrameType.data:
        return `data ${id} ${payload.length > 40 ? payload.length : payload.toString('latin1')}${end}`;
      case FrameType.headers: {
        if ((flags & FrameFlag.endHeaders) === 0) return `headers ${id} part ${payload.length}`;
        const fields: string[] = [];
        const onField = (name: HeaderName, value: string): void => void fields.push(`${name.name}=${value}`);
        const error = this.#decoder.decode(Buffer.from(payload), 0, payload.length, { onField });
        return `headers ${id} ${fields.join(' ')}${error === 0 ? '' : ` error ${error}`}${end}`;
      }
      case FrameType.continuation:
        return `continuation ${id} ${payload.length}${(flags & FrameFlag.endHeaders) === 0 ? '' : ' last'}`;
      case FrameType.settings: {
        if ((flags & FrameFlag.ack) !== 0) return 'settings ack';
        const values: string[] = [];
        for (let at = 0; at < payload.length; at += 6)
          values.push(`${payload.readUInt16BE(at)}=${payload.readUInt32BE(at + 2)}`);
        return `settings ${values.join(' ')}`;
      }
      case FrameType.rstStream:
        return `reset ${id} ${payload.readUInt32BE(0)}`;
      case FrameType.goaway:
        return `goaway ${payload.readUInt32BE(0)} ${payload.readUInt32BE(4)}`;
      case FrameType.windowUpdate:
        return `window ${id} ${payload.readUInt32BE(0)}`;
      case FrameType.ping:
        return `ping ${(flags & FrameFlag.ack) === 0 ? '' : 'ack '}${payload.toString('latin1', 0, 7)}`;
      default:
        return `type ${type} ${id}`;
    }
  }
}

export type Answer = (encoder: ResponseEncoder, headers: RequestHeaderMap) => void;

export class ServerDecoder extends RecordingDecoder {
  headers = new RequestHeaderMap();

  override decodeHeaders(headersOf: RequestHeaderMap | ResponseHeaderMap, endStream: boolean): void {
    if (headersOf instanceof RequestHeaderMap) this.headers = headersOf;
    super.decodeHeaders(headersOf, endStream);
  }
}

/** A server connection that writes down requests and answers each with `answer` when it is complete. */
export class RecordingServer implements ServerConnectionCallbacks {
  readonly lines: string[] = [];
  readonly peer: Peer;
  readonly connection: Http2ServerConnection;
  readonly decoders: ServerDecoder[] = [];
  readonly encoders: ResponseEncoder[] = [];
  readonly #answer: Answer;
  closed = false;

  constructor(options: Partial<Http2Options> = {}, answer: Answer = answerOk, greet = true) {
    const [near, far] = duplexPair();
    this.peer = new Peer(far, 0);
    this.#answer = answer;
    this.connection = new Http2ServerConnection(new SocketIo(near as Socket, nobody), this, {
      ...defaultHttp2Options,
      delayedCloseMs: 10,
      ...options,
    });
    if (greet) this.peer.send(clientPreface, settingsFrame([]), settingsAck);
  }

  newStream(encoder: ResponseEncoder): RequestDecoder {
    const decoder: ServerDecoder = new ServerDecoder(this, () => this.#answer(encoder, decoder.headers));
    this.decoders.push(decoder);
    this.encoders.push(encoder);
    return decoder;
  }

  onProtocolError(): void {
    this.lines.push('protocol error');
  }

  onClose(): void {
    this.closed = true;
  }
}

/** A client connection whose server the test plays. */
export class RecordingClient implements ClientConnectionCallbacks {
  readonly lines: string[] = [];
  readonly peer: Peer;
  readonly connection: Http2ClientConnection;

  constructor(options: Partial<Http2Options> = {}, settings: readonly (readonly [number, number])[] = []) {
    const [near, far] = duplexPair();
    this.peer = new Peer(far, clientPreface.length);
    this.connection = new Http2ClientConnection(near as Socket, this, {
      ...defaultHttp2Options,
      delayedCloseMs: 10,
      ...options,
    });
    this.peer.send(settingsFrame(settings), settingsAck);
  }

  onStreamEnd(): void {
    this.lines.push('stream end');
  }

  onCapacityChange(): void {
    this.lines.push(`capacity ${this.connection.availableStreams}`);
  }

  onGoAway(): void {
    this.lines.push('goaway');
  }

  onClose(details: string): void {
    this.lines.push(`close ${details}`.trimEnd());
  }
}

export function requestHeaders(
  method = 'GET',
  path = '/',
  fields: Record<string, string> = {},
): RequestHeaderMap {
  const made = new RequestHeaderMap(Object.keys(fields), Object.values(fields));
  made.method = method;
  made.path = path;
  made.scheme = 'http';
  made.authority = 'host';
  return made;
}

export function responseHeaders(status = 200, fields: Record<string, string> = {}): ResponseHeaderMap {
  const made = new ResponseHeaderMap(Object.keys(fields), Object.values(fields));
  made.status = status;
  return made;
}

export { RecordingDecoder, settle } from '../http1/testing.ts';
