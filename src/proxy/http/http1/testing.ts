/** Fixtures for codec tests: both codecs over an in-memory stream pair, with what they told written down. */
import { type Duplex, duplexPair } from 'node:stream';
import type { Socket } from 'node:net';
import type {
  ClientConnectionCallbacks,
  RequestDecoder,
  ResponseDecoder,
  ResponseEncoder,
  ServerConnectionCallbacks,
} from '../codec.ts';
import { type HeaderMap, type RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import { SocketIo } from '../socket_io.ts';
import { Http1ClientConnection, defaultClientOptions, type Http1ClientOptions } from './client_connection.ts';
import { Http1ServerConnection, defaultServerOptions, type Http1ServerOptions } from './server_connection.ts';

/** Everything that was read from the far end, as latin1 text. */
export class Wire {
  readonly far: Duplex;
  text = '';
  ended = false;

  constructor(far: Duplex) {
    this.far = far;
    far.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1')));
    far.on('end', () => (this.ended = true));
    far.on('error', () => {});
  }

  send(text: string): void {
    this.far.write(text, 'latin1');
  }
}

/** One line per event: `headers`, `data`, `trailers`, `end`, `reset`. Data of one message is joined. */
export interface Events {
  readonly lines: string[];
}

function fieldsOf(headers: HeaderMap): string {
  return headers.names.map((name, i) => `${name}=${headers.values[i]}`).join('|');
}

export class RecordingDecoder implements RequestDecoder, ResponseDecoder {
  readonly events: Events;
  readonly onEnd: () => void;
  #data = '';
  above = 0;
  below = 0;

  constructor(events: Events, onEnd: () => void = () => {}) {
    this.events = events;
    this.onEnd = onEnd;
  }

  decode1xxHeaders(headers: ResponseHeaderMap): void {
    this.events.lines.push(`1xx ${headers.status}`);
  }

  decodeHeaders(headers: RequestHeaderMap | ResponseHeaderMap, endStream: boolean): void {
    const start =
      headers instanceof ResponseHeaderMap
        ? String(headers.status)
        : `${headers.method} ${headers.path} host=${headers.authority}`;
    this.events.lines.push(`headers ${start} ${fieldsOf(headers)}`);
    if (endStream) this.#end();
  }

  decodeData(data: Buffer, endStream: boolean): void {
    this.#data += data.toString('latin1');
    if (endStream) this.#end();
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.#flush();
    this.events.lines.push(`trailers ${fieldsOf(trailers)}`);
    this.#end();
  }

  onResetStream(reason: string, details: string): void {
    this.#flush();
    this.events.lines.push(`reset ${reason} ${details}`);
  }

  onAboveWriteBufferHighWatermark(): void {
    this.above++;
  }

  onBelowWriteBufferLowWatermark(): void {
    this.below++;
  }

  #flush(): void {
    if (this.#data !== '') this.events.lines.push(`data ${this.#data}`);
    this.#data = '';
  }

  #end(): void {
    this.#flush();
    this.events.lines.push('end');
    this.onEnd();
  }
}

/** A server that writes down requests and answers each with `answer`. */
export class RecordingServer implements ServerConnectionCallbacks, Events {
  readonly lines: string[] = [];
  readonly wire: Wire;
  readonly connection: Http1ServerConnection;
  readonly decoders: RecordingDecoder[] = [];
  closed = false;
  #answer: (encoder: ResponseEncoder) => void;

  constructor(
    options: Partial<Http1ServerOptions> = {},
    answer: (encoder: ResponseEncoder) => void = answerOk,
  ) {
    const [near, far] = duplexPair();
    this.wire = new Wire(far);
    this.#answer = answer;
    const io = new SocketIo(near as Socket, {
      onData() {},
      onEnd() {},
      onClose() {},
      onDrain() {},
    });
    this.connection = new Http1ServerConnection(io, this, {
      ...defaultServerOptions,
      delayedCloseMs: 10,
      ...options,
    });
  }

  newStream(encoder: ResponseEncoder): RequestDecoder {
    const decoder = new RecordingDecoder(this, () => this.#answer(encoder));
    this.decoders.push(decoder);
    return decoder;
  }

  onProtocolError(encoder: ResponseEncoder, status: number, details: string): void {
    this.lines.push(`error ${status} ${details}`);
    const headers = new ResponseHeaderMap();
    headers.status = status;
    encoder.encodeHeaders(headers, true);
  }

  onClose(): void {
    this.closed = true;
  }
}

export function answerOk(encoder: ResponseEncoder): void {
  const headers = new ResponseHeaderMap();
  headers.status = 200;
  encoder.encodeHeaders(headers, true);
}

/** A client connection whose far end the test plays. */
export class RecordingClient implements ClientConnectionCallbacks, Events {
  readonly lines: string[] = [];
  readonly wire: Wire;
  readonly connection: Http1ClientConnection;

  constructor(options: Partial<Http1ClientOptions> = {}) {
    const [near, far] = duplexPair();
    this.wire = new Wire(far);
    this.connection = new Http1ClientConnection(near as Socket, this, {
      ...defaultClientOptions,
      ...options,
    });
  }

  onStreamEnd(): void {
    this.lines.push('reusable');
  }

  onGoAway(): void {
    this.lines.push('goaway');
  }

  onClose(details: string): void {
    this.lines.push(`close ${details}`.trimEnd());
  }
}

/** Lets streams move what they hold. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve));
}
