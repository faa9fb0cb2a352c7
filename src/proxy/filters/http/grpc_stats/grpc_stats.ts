/** `envoy.filters.http.grpc_stats`: counts the messages of gRPC calls and leaves the counts in filter state. */
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import { isGrpcRequest } from '../../../http/grpc.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';

/** Filter state that holds the counts; also Envoy's name of the filter. */
export const grpcStatsKey = 'envoy.filters.http.grpc_stats';

/** Messages so far (envoy FilterObject). */
export interface GrpcMessageCounts {
  readonly requestMessageCount: number;
  readonly responseMessageCount: number;
}

/** Counts length-prefixed messages (gRPC over HTTP/2: one byte of flags, four of length) without keeping them. */
export class FrameCounter {
  count = 0;
  /** Bytes of the prefix read so far. */
  #prefix = 0;
  /** Length of the message, as far as the prefix told it; then what is left of the message. */
  #left = 0;

  add(data: Buffer): void {
    let at = 0;
    while (at < data.length) {
      if (this.#prefix < 5) {
        if (this.#prefix > 0) this.#left = this.#left * 256 + (data[at] as number);
        this.#prefix++;
        at++;
        if (this.#prefix === 5) this.count++;
      } else {
        const step = Math.min(this.#left, data.length - at);
        this.#left -= step;
        at += step;
      }
      if (this.#prefix === 5 && this.#left === 0) this.#prefix = 0;
    }
  }
}

export class GrpcStatsFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  /** Undefined for requests that are no gRPC calls. */
  #request: FrameCounter | undefined = undefined;
  readonly #response = new FrameCounter();

  constructor(callbacks: FilterCallbacks) {
    this.#callbacks = callbacks;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    if ((headers.seen & HeaderFlag.contentType) !== 0 && isGrpcRequest(headers))
      this.#request = new FrameCounter();
    return FilterStatus.continue;
  }

  decodeData(data: Buffer): FilterStatus {
    this.#request?.add(data);
    return FilterStatus.continue;
  }

  encodeData(data: Buffer): FilterStatus {
    if (this.#request !== undefined) this.#response.add(data);
    return FilterStatus.continue;
  }

  onStreamComplete(): void {
    if (this.#request === undefined) return;
    const counts: GrpcMessageCounts = {
      requestMessageCount: this.#request.count,
      responseMessageCount: this.#response.count,
    };
    this.#callbacks.streamInfo.setFilterState(grpcStatsKey, counts);
  }
}
