/**
 * What the HTTP/2 codec costs as a proxy: requests come in on server connections, go out on one client connection, answers
 * go back. Without `--port` the sockets are plain objects, so that neither kernel nor Node's streams count, and CPU
 * microseconds per request are printed; with it the same relay serves real sockets, for h2load and profiles.
 *
 *   node [--cpu-prof] bench/micro/http2_codec.ts [--requests 400000] [--connections 8] [--streams 10]
 *   node bench/micro/http2_codec.ts --port 9300 --upstream 9000
 *   h2load -c8 -m10 -D8 http://127.0.0.1:9300/
 */
import { EventEmitter } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import type { RequestDecoder, RequestEncoder, ResponseDecoder, ResponseEncoder } from '#proxy/http/codec.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '#proxy/http/header_map.ts';
import { Http2ClientConnection } from '#proxy/http/http2/client_connection.ts';
import { uint32Text } from '#proxy/http/http2/frames/frame_header.ts';
import { headersFrames } from '#proxy/http/http2/frames/headers.ts';
import { settingsAck, settingsFrame } from '#proxy/http/http2/frames/settings.ts';
import { windowUpdateFrame } from '#proxy/http/http2/frames/window_update.ts';
import { defaultHttp2Options } from '#proxy/http/http2/options.ts';
import { Http2ServerConnection } from '#proxy/http/http2/server_connection.ts';
import { clientPreface, data, rawField, requestBlock, responseBlock } from '#proxy/http/http2/testing.ts';
import { SocketIo } from '#proxy/http/socket_io.ts';

const { values: flags } = parseArgs({
  options: {
    requests: { type: 'string', default: '400000' },
    connections: { type: 'string', default: '8' },
    streams: { type: 'string', default: '10' },
    port: { type: 'string' },
    upstream: { type: 'string', default: '9000' },
  },
});

const nobody = { onData() {}, onEnd() {}, onClose() {}, onDrain() {} };
const pool = { onStreamEnd() {}, onGoAway() {}, onClose() {} };
let up: Http2ClientConnection;

/** One exchange, without anything between the codecs. */
class Relay implements RequestDecoder, ResponseDecoder {
  readonly #down: ResponseEncoder;
  #up: RequestEncoder | undefined = undefined;
  #answering = false;

  constructor(down: ResponseEncoder) {
    this.#down = down;
  }

  decode1xxHeaders(): void {}

  decodeHeaders(headers: RequestHeaderMap | ResponseHeaderMap, endStream: boolean): void {
    if (this.#up === undefined) {
      const request = up.newStream(this);
      this.#up = request;
      request.encodeHeaders(headers as RequestHeaderMap, endStream);
    } else {
      this.#answering = true;
      this.#down.encodeHeaders(headers as ResponseHeaderMap, endStream);
    }
  }

  decodeData(bytes: Buffer, endStream: boolean): void {
    if (this.#answering) this.#down.encodeData(bytes, endStream);
    else this.#up?.encodeData(bytes, endStream);
  }

  decodeTrailers(trailers: HeaderMap): void {
    if (this.#answering) this.#down.encodeTrailers(trailers);
    else this.#up?.encodeTrailers(trailers);
  }

  onResetStream(): void {}
  onAboveWriteBufferHighWatermark(): void {}
  onBelowWriteBufferLowWatermark(): void {}
}

const callbacks = {
  newStream: (encoder: ResponseEncoder): RequestDecoder => new Relay(encoder),
  onProtocolError() {},
  onClose() {},
};

/** As much of a socket as the codec touches. */
class FakeSocket extends EventEmitter {
  writableLength = 0;
  writableHighWaterMark = 65_536;
  destroyed = false;
  bytes = 0;
  write(text: string | Buffer): boolean {
    // What Node does with it: text becomes bytes.
    this.bytes += typeof text === 'string' ? scratch.latin1Write(text, 0) : text.length;
    return true;
  }
  pause(): void {}
  resume(): void {}
  cork(): void {}
  uncork(): void {}
}

interface Latin1Buffer extends Buffer {
  latin1Write(text: string, offset: number): number;
}
const scratch = Buffer.allocUnsafeSlow(1 << 20) as Latin1Buffer;

async function withoutSockets(): Promise<void> {
  const [connections, streams] = [Number(flags.connections), Number(flags.streams)];
  const upstream = new FakeSocket();
  up = new Http2ClientConnection(upstream as unknown as Socket, pool);
  upstream.emit(
    'data',
    Buffer.from(settingsFrame([]) + settingsAck + windowUpdateFrame(uint32Text(0), 1 << 30), 'latin1'),
  );
  const downstreams = Array.from({ length: connections }, () => {
    const socket = new FakeSocket();
    void new Http2ServerConnection(
      new SocketIo(socket as unknown as Socket, nobody),
      callbacks,
      defaultHttp2Options,
    );
    const hello =
      clientPreface + settingsFrame([[4, 1 << 30]]) + settingsAck + windowUpdateFrame(uint32Text(0), 1 << 30);
    socket.emit('data', Buffer.from(hello, 'latin1'));
    return socket;
  });
  const request = requestBlock(
    'GET',
    '/details/0',
    rawField('user-agent', 'h2load nghttp2/1.52.0') + rawField('accept', '*/*'),
  );
  const response = responseBlock(
    200,
    rawField('date', 'Sun, 22 Nov 2026 16:18:17 GMT') +
      rawField('content-type', 'text/plain') +
      rawField('content-length', '1024') +
      rawField('last-modified', 'Sun, 22 Nov 2026 16:18:17 GMT') +
      rawField('etag', '"6b0315c9-400"') +
      rawField('accept-ranges', 'bytes'),
  );
  const body = 'x'.repeat(1024);
  let [nextDown, nextUp] = [1, 1];
  let busy = 0;
  const rounds = Math.ceil(Number(flags.requests) / (connections * streams));
  const warm = Math.ceil(rounds / 5);
  for (let round = 0; round < warm + rounds; round++) {
    // One turn of the loop: each connection sends its requests, then the upstream answers all.
    let asked = '';
    for (let i = 0; i < streams; i++)
      asked += headersFrames(request, true, uint32Text(nextDown + 2 * i), 16_384);
    nextDown += 2 * streams;
    let answered = '';
    for (let i = 0; i < streams * connections; i++, nextUp += 2)
      answered += headersFrames(response, false, uint32Text(nextUp), 16_384) + data(nextUp, body, true);
    const chunk = Buffer.from(asked, 'latin1');
    const answers = Buffer.from(answered, 'latin1');
    const start = process.cpuUsage();
    for (const socket of downstreams) socket.emit('data', Buffer.from(chunk));
    await new Promise((resolve) => setImmediate(resolve));
    for (let at = 0; at < answers.length; at += 65_536)
      upstream.emit('data', Buffer.from(answers.subarray(at, at + 65_536)));
    const spent = process.cpuUsage(start);
    if (round >= warm) busy += spent.user + spent.system;
  }
  const perRequest = busy / (rounds * connections * streams);
  console.log(
    `${connections} x ${streams} streams: ${perRequest.toFixed(2)} µs of CPU a request, both sides of the codec`,
  );
}

if (flags.port === undefined) await withoutSockets();
else {
  const socket = connect(Number(flags.upstream), '127.0.0.1', () => {
    socket.setNoDelay(true);
    up = new Http2ClientConnection(socket, pool);
    createServer({ noDelay: true }, (down) => {
      void new Http2ServerConnection(new SocketIo(down, nobody), callbacks, defaultHttp2Options);
    }).listen(Number(flags.port), '127.0.0.1');
  });
}
