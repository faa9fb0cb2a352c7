/**
 * CONNECT that ends here: the tunnel's bytes go to the upstream as plain TCP (route upgrade_configs.connect_config, envoy
 * Extensions::Upstreams::Http::Tcp). To the router it looks like a stream that answers 200 at once.
 */
import type { Socket } from 'node:net';
import { type RequestEncoder, ResetReason, type ResponseDecoder } from '../../../http/codec.ts';
import { type HeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { type IoListener, SocketIo } from '../../../http/socket_io.ts';

const noBytes = Buffer.alloc(0);

/** Owns a connected socket. */
export class TcpUpstream implements RequestEncoder, IoListener {
  readonly #io: SocketIo;
  readonly #highWatermark: number;
  #decoder: ResponseDecoder | undefined;
  aboveHighWatermark = false;

  constructor(socket: Socket, decoder: ResponseDecoder, highWatermark: number) {
    this.#decoder = decoder;
    this.#highWatermark = highWatermark;
    this.#io = new SocketIo(socket, this);
  }

  encodeHeaders(_headers: HeaderMap, endStream: boolean): void {
    const response = new ResponseHeaderMap();
    response.status = 200;
    response.seen = 0;
    this.#decoder?.decodeHeaders(response, false);
    if (endStream) this.#io.end();
  }

  encodeData(data: Buffer, endStream: boolean): void {
    if (data.length > 0) this.#io.writeBuffer(data);
    if (endStream) this.#io.end();
    else if (!this.aboveHighWatermark) {
      if (this.#io.queuedBytes <= Math.max(this.#highWatermark, this.#io.drainMark)) return;
      this.aboveHighWatermark = true;
      this.#decoder?.onAboveWriteBufferHighWatermark();
    }
  }

  encodeTrailers(): void {
    this.#io.end();
  }

  reset(_reason: ResetReason): void {
    this.#decoder = undefined;
    this.#io.destroy();
  }

  readDisable(disable: boolean): void {
    if (disable) this.#io.pause();
    else this.#io.resume();
  }

  onData(chunk: Buffer): void {
    this.#decoder?.decodeData(chunk, false);
  }

  onEnd(): void {
    const decoder = this.#decoder;
    this.#decoder = undefined;
    decoder?.decodeData(noBytes, true);
    // With the answer the request is over too: what was written goes out, then the socket closes.
    this.#io.end();
  }

  onClose(): void {
    const decoder = this.#decoder;
    this.#decoder = undefined;
    decoder?.onResetStream(ResetReason.connectionTermination, '');
  }

  onDrain(): void {
    if (!this.aboveHighWatermark) return;
    this.aboveHighWatermark = false;
    this.#decoder?.onBelowWriteBufferLowWatermark();
  }
}
