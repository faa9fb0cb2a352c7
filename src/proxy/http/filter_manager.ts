/**
 * Runs one request and its response through a filter chain (envoy Http::FilterManager). The connection manager's stream
 * extends it: one object per request. A filter that stops holds back what follows; bodies held back are bounded. No
 * closure and no promise on the way. On the hot path: bench/micro/http1_proxy.ts; larger than usual because decoding and
 * encoding mirror each other and share the state.
 */
import type { DownstreamConnection } from '../network/connection.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { ResetReason } from './codec.ts';
import {
  FilterStatus,
  type FilterRoute,
  type HttpFilter,
  type LocalReply,
  type TerminalFilterCallbacks,
  type TerminalHttpFilter,
} from './filter.ts';
import { type ChainHooks, type FilterChain, passThroughFilter } from './filter_chain.ts';
import { isGrpcRequest } from './grpc.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from './header_map.ts';
import { HeaderFlag } from './header_names.ts';
import { localReplies, localReplyHeaders } from './local_reply.ts';
import { batchNow } from './socket_io.ts';

const noBytes = Buffer.alloc(0);

/** No filter has stopped, on the way in. */
const nowhere = 1 << 20;

/** Data held back in one direction. */
class Held {
  #chunks: Buffer[] = [];
  bytes = 0;

  push(data: Buffer): void {
    // One empty piece is enough to hold back the end.
    if (data.length === 0 && this.#chunks.length > 0) return;
    this.#chunks.push(data);
    this.bytes += data.length;
  }

  /** One buffer of everything; the list stays. */
  joined(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] as Buffer;
  }
}

export abstract class FilterManager implements TerminalFilterCallbacks {
  readonly streamInfo: StreamInfo;
  abstract readonly connection: DownstreamConnection;
  abstract readonly bufferLimit: number;
  abstract readonly downstreamAboveHighWatermark: boolean;

  #filters: HttpFilter[] = [];
  #terminal: TerminalHttpFilter | undefined = undefined;
  #hooks: ChainHooks | undefined = undefined;
  #requestHeaders: RequestHeaderMap | undefined = undefined;
  #requestTrailers: HeaderMap | undefined = undefined;
  #responseHeaders: ResponseHeaderMap | undefined = undefined;
  #responseTrailers: HeaderMap | undefined = undefined;

  /** Filter at which the request waits. */
  #decodeStop = nowhere;
  /** First filter that has not seen the request headers. */
  #decodeNext = 0;
  #decodeHeld: Held | undefined = undefined;
  #decodeEnd = false;
  #decodePaused = false;
  /** Filter that is being called and may resume inside its own call. */
  #decodeCalling = -1;
  #decodeResumed = false;
  /** Set by the filter that is being called: its version of the data. */
  #decodeReplaced: Buffer | undefined = undefined;

  /** Filter at which the response waits; -1 for none. */
  #encodeStop = -1;
  #encodeHeld: Held | undefined = undefined;
  #encodeEnd = false;
  #encodeCalling = -1;
  #encodeResumed = false;
  #encodeReplaced: Buffer | undefined = undefined;
  /** Trailers travel in the body. */
  #trailersSentAsData = false;

  /** Response headers have gone to the codec. */
  #responseStarted = false;
  #localReply = false;
  /** As the request came: filters may rewrite its content type. */
  #grpcRequest = false;
  #done = false;

  constructor(streamInfo: StreamInfo) {
    this.streamInfo = streamInfo;
  }

  // === what the connection manager does for the chain ===

  protected abstract writeHeaders(headers: ResponseHeaderMap, endStream: boolean): void;
  protected abstract writeData(data: Buffer, endStream: boolean): void;
  protected abstract writeTrailers(trailers: HeaderMap): void;
  abstract encode1xxHeaders(headers: ResponseHeaderMap): void;
  /** Resets the stream towards the client. */
  protected abstract resetDownstream(reason: ResetReason): void;
  abstract readDisable(disable: boolean): void;
  abstract route(): FilterRoute | undefined;
  abstract clearRouteCache(): void;
  /** Called once at the end, after the filters' `onStreamComplete`: logs. */
  protected abstract onFinished(): void;
  /** Chance to change a local reply (local_reply_config). */
  protected abstract mapLocalReply(reply: LocalReply): LocalReply;

  // === callbacks of filters ===

  requestHeaders(): RequestHeaderMap | undefined {
    return this.#requestHeaders;
  }

  responseHeaders(): ResponseHeaderMap | undefined {
    return this.#responseHeaders;
  }

  responseTrailers(): HeaderMap | undefined {
    return this.#responseTrailers;
  }

  decodingBuffer(): Buffer | undefined {
    return this.#decodeHeld?.joined();
  }

  encodingBuffer(): Buffer | undefined {
    return this.#encodeHeld?.joined();
  }

  replaceDecodedData(data: Buffer): void {
    this.#decodeReplaced = data;
  }

  replaceEncodedData(data: Buffer): void {
    this.#encodeReplaced = data;
  }

  sendTrailersAsData(data: Buffer): void {
    this.#encodeReplaced = data;
    this.#trailersSentAsData = true;
  }

  /** True once nothing more may be done with the stream. */
  get finished(): boolean {
    return this.#done;
  }

  get responseStarted(): boolean {
    return this.#responseStarted;
  }

  /** True when the request has come completely. */
  get requestComplete(): boolean {
    return this.#decodeEnd;
  }

  protected get terminalFilter(): TerminalHttpFilter | undefined {
    return this.#terminal;
  }

  // === request ===

  /** Remembers the headers before filters exist, for logs and local replies. */
  protected setRequestHeaders(headers: RequestHeaderMap): void {
    this.#requestHeaders = headers;
    this.#grpcRequest = (headers.seen & HeaderFlag.contentType) !== 0 && isGrpcRequest(headers);
  }

  /** Makes the filters and starts the request. `disabled` tells which entries are off. */
  protected startDecoding(chain: FilterChain, disabled: ((name: string) => boolean) | undefined): void {
    const { entries } = chain;
    const filters: HttpFilter[] = [];
    let complete = true;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as (typeof entries)[number];
      if (disabled !== undefined && disabled(entry.name)) {
        filters.push(passThroughFilter);
        complete = false;
      } else filters.push(entry.factory.createFilter(this));
    }
    this.#terminal = chain.terminal.createTerminalFilter(this);
    filters.push(this.#terminal);
    this.#filters = filters;
    this.#hooks = chain.hooks(filters, complete);
    this.#decodeHeaders(0);
  }

  protected setRequestEnd(): void {
    this.#decodeEnd = true;
  }

  #decodeHeaders(from: number): void {
    const headers = this.#requestHeaders as RequestHeaderMap;
    const positions = (this.#hooks as ChainHooks).decodeHeaders;
    const last = this.#filters.length - 1;
    for (let k = 0; k < positions.length; k++) {
      const i = positions[k] as number;
      if (i < from) continue;
      this.#decodeNext = i + 1;
      this.#decodeCalling = i;
      const endStream =
        this.#decodeEnd && this.#decodeHeld === undefined && this.#requestTrailers === undefined;
      const status = (this.#filters[i] as Required<HttpFilter>).decodeHeaders(headers, endStream);
      this.#decodeCalling = -1;
      if (this.#done || this.#localReply) return;
      if (status !== FilterStatus.continue && i !== last && !this.#takeDecodeResumed()) {
        this.#decodeStop = i;
        return;
      }
    }
    this.#decodeNext = last + 1;
  }

  #takeDecodeResumed(): boolean {
    const resumed = this.#decodeResumed;
    this.#decodeResumed = false;
    return resumed;
  }

  protected decodeBody(data: Buffer, endStream: boolean): void {
    if (endStream) this.#decodeEnd = true;
    if (this.#done || this.#localReply || this.#hooks === undefined) return;
    this.#decodeData(0, data, endStream);
  }

  #decodeData(from: number, original: Buffer, endStream: boolean): void {
    let data = original;
    const positions = (this.#hooks as ChainHooks).decodeData;
    const last = this.#filters.length - 1;
    for (let k = 0; k < positions.length; k++) {
      const i = positions[k] as number;
      if (i < from) continue;
      if (i > this.#decodeStop) break;
      this.#decodeCalling = i;
      const status = (this.#filters[i] as Required<HttpFilter>).decodeData(data, endStream);
      this.#decodeCalling = -1;
      if (this.#done || this.#localReply) return;
      if (this.#decodeReplaced !== undefined) {
        data = this.#decodeReplaced;
        this.#decodeReplaced = undefined;
      }
      const resumed = this.#takeDecodeResumed();
      if (i === this.#decodeStop) {
        this.#holdRequest(data, status !== FilterStatus.stopAndPause);
        if (status === FilterStatus.continue || resumed) this.#resumeDecoding();
        return;
      }
      if (status !== FilterStatus.continue && i !== last && !resumed) {
        this.#decodeStop = i;
        this.#holdRequest(data, status !== FilterStatus.stopAndPause);
        return;
      }
    }
    if (this.#decodeStop !== nowhere) this.#holdRequest(data, false);
  }

  /** @param byFilter the filter buffers on purpose: past the bound the request is refused, else its source pauses. */
  #holdRequest(data: Buffer, byFilter: boolean): void {
    this.#decodeHeld ??= new Held();
    this.#decodeHeld.push(data);
    if (this.#decodeHeld.bytes <= this.bufferLimit) return;
    if (byFilter) this.sendLocalReply(localReplies.requestPayloadTooLarge);
    else if (!this.#decodePaused) {
      this.#decodePaused = true;
      this.readDisable(true);
    }
  }

  protected decodeRequestTrailers(trailers: HeaderMap): void {
    this.#decodeEnd = true;
    this.#requestTrailers = trailers;
    if (this.#done || this.#localReply || this.#hooks === undefined) return;
    this.#decodeTrailers(0);
  }

  #decodeTrailers(from: number): void {
    const trailers = this.#requestTrailers as HeaderMap;
    const positions = (this.#hooks as ChainHooks).decodeTrailers;
    const last = this.#filters.length - 1;
    for (let k = 0; k < positions.length; k++) {
      const i = positions[k] as number;
      if (i < from) continue;
      if (i > this.#decodeStop) return;
      this.#decodeCalling = i;
      const status = (this.#filters[i] as Required<HttpFilter>).decodeTrailers(trailers);
      this.#decodeCalling = -1;
      if (this.#done || this.#localReply) return;
      const resumed = this.#takeDecodeResumed();
      if (i === this.#decodeStop) {
        if (status === FilterStatus.continue || resumed) this.#resumeDecoding();
        return;
      }
      if (status === FilterStatus.stopIteration && i !== last && !resumed) {
        this.#decodeStop = i;
        return;
      }
    }
  }

  continueDecoding(): void {
    if (this.#done || this.#localReply) return;
    if (this.#decodeCalling >= 0) this.#decodeResumed = true;
    else if (this.#decodeStop !== nowhere) this.#resumeDecoding();
  }

  #resumeDecoding(): void {
    const next = this.#decodeStop + 1;
    this.#decodeStop = nowhere;
    if (this.#decodeNext <= next && this.#decodeNext < this.#filters.length) this.#decodeHeaders(next);
    if (this.#done || this.#localReply) return;
    const held = this.#decodeHeld;
    if (held !== undefined) {
      this.#decodeHeld = undefined;
      this.#decodeData(next, held.joined(), this.#decodeEnd && this.#requestTrailers === undefined);
      if (this.#done || this.#localReply) return;
    }
    if (this.#decodePaused && this.#decodeHeld === undefined) {
      this.#decodePaused = false;
      this.readDisable(false);
    }
    if (this.#requestTrailers !== undefined) this.#decodeTrailers(next);
  }

  // === another pass ===

  abstract recreateStream(body: readonly Buffer[] | undefined): void;

  /** Ends the filters and forgets how far they were: `startDecoding` and then `replayRequest` begin anew. */
  protected forgetFilters(): void {
    const hooks = this.#hooks;
    const filters = this.#filters;
    this.#hooks = undefined;
    this.#filters = [];
    this.#terminal = undefined;
    this.#decodeStop = nowhere;
    this.#decodeNext = 0;
    this.#decodeHeld = undefined;
    this.#decodeResumed = false;
    this.#decodeReplaced = undefined;
    this.#encodeStop = -1;
    this.#encodeHeld = undefined;
    this.#encodeEnd = false;
    this.#encodeResumed = false;
    this.#encodeReplaced = undefined;
    this.#responseHeaders = undefined;
    this.#responseTrailers = undefined;
    if (this.#decodePaused) {
      this.#decodePaused = false;
      this.readDisable(false);
    }
    if (hooks === undefined) return;
    const { onDestroy } = hooks;
    for (let k = 0; k < onDestroy.length; k++)
      (filters[onDestroy[k] as number] as Required<HttpFilter>).onDestroy();
  }

  /** Starts a complete request again: its end is known to come behind the body and the trailers. */
  protected restartDecoding(
    chain: FilterChain,
    disabled: ((name: string) => boolean) | undefined,
    body: readonly Buffer[] | undefined,
  ): void {
    const trailers = this.#requestTrailers;
    this.#decodeEnd = body === undefined;
    this.startDecoding(chain, disabled);
    if (body !== undefined)
      this.decodeBody(body.length === 1 ? (body[0] as Buffer) : Buffer.concat(body), trailers === undefined);
    if (trailers !== undefined) this.decodeRequestTrailers(trailers);
  }

  // === response ===

  encodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    // After a local reply nothing of the upstream's response counts.
    if (!this.#done && !this.#localReply) this.#startEncoding(headers, endStream);
  }

  #startEncoding(headers: ResponseHeaderMap, endStream: boolean): void {
    this.#responseHeaders = headers;
    if (endStream) this.#encodeEnd = true;
    if (this.#hooks === undefined) this.#sendHeaders(headers, endStream);
    else this.#encodeHeadersFrom(this.#filters.length - 1);
  }

  #encodeHeadersFrom(from: number): void {
    const headers = this.#responseHeaders as ResponseHeaderMap;
    const positions = (this.#hooks as ChainHooks).encodeHeaders;
    for (let k = 0; k < positions.length; k++) {
      const i = positions[k] as number;
      if (i > from) continue;
      this.#encodeCalling = i;
      const endStream =
        this.#encodeEnd && this.#encodeHeld === undefined && this.#responseTrailers === undefined;
      const status = (this.#filters[i] as Required<HttpFilter>).encodeHeaders(headers, endStream);
      this.#encodeCalling = -1;
      // A filter may answer in place of the response it was shown.
      if (this.#done || headers !== this.#responseHeaders) return;
      if (status === FilterStatus.stopIteration && !this.#takeEncodeResumed()) {
        this.#encodeStop = i;
        return;
      }
    }
    this.#sendHeaders(
      headers,
      this.#encodeEnd && this.#encodeHeld === undefined && this.#responseTrailers === undefined,
    );
  }

  #takeEncodeResumed(): boolean {
    const resumed = this.#encodeResumed;
    this.#encodeResumed = false;
    return resumed;
  }

  #sendHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    this.#responseStarted = true;
    this.streamInfo.responseCode = headers.status;
    this.writeHeaders(headers, endStream);
    if (endStream) this.finish();
  }

  encodeData(data: Buffer, endStream: boolean): void {
    if (!this.#done && !this.#localReply) this.#encodeBody(data, endStream);
  }

  #encodeBody(data: Buffer, endStream: boolean): void {
    if (endStream) this.#encodeEnd = true;
    if (this.#hooks === undefined) this.#sendData(data, endStream);
    else this.#encodeDataFrom(this.#filters.length - 1, data, endStream);
  }

  #encodeDataFrom(from: number, original: Buffer, endStream: boolean): void {
    let data = original;
    const positions = (this.#hooks as ChainHooks).encodeData;
    const headers = this.#responseHeaders;
    for (let k = 0; k < positions.length; k++) {
      const i = positions[k] as number;
      if (i > from) continue;
      if (i < this.#encodeStop) break;
      this.#encodeCalling = i;
      const status = (this.#filters[i] as Required<HttpFilter>).encodeData(data, endStream);
      this.#encodeCalling = -1;
      if (this.#done || headers !== this.#responseHeaders) return;
      if (this.#encodeReplaced !== undefined) {
        data = this.#encodeReplaced;
        this.#encodeReplaced = undefined;
      }
      const resumed = this.#takeEncodeResumed();
      if (i === this.#encodeStop) {
        this.#holdResponse(data);
        if (status === FilterStatus.continue || resumed) this.#resumeEncoding();
        return;
      }
      if (status === FilterStatus.stopIteration && !resumed) {
        this.#encodeStop = i;
        this.#holdResponse(data);
        return;
      }
    }
    if (this.#encodeStop >= 0) this.#holdResponse(data);
    else this.#sendData(data, endStream);
  }

  #holdResponse(data: Buffer): void {
    this.#encodeHeld ??= new Held();
    this.#encodeHeld.push(data);
    if (this.#encodeHeld.bytes <= this.bufferLimit) return;
    if (this.#responseStarted) this.resetStream('local reset');
    else this.sendLocalReply(localReplies.responsePayloadTooLarge);
  }

  #sendData(data: Buffer, endStream: boolean): void {
    this.writeData(data, endStream);
    if (endStream) this.finish();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.#done || this.#localReply) return;
    this.#encodeEnd = true;
    this.#responseTrailers = trailers;
    if (this.#hooks === undefined) this.#sendTrailers(trailers);
    else this.#encodeTrailersFrom(this.#filters.length - 1);
  }

  #encodeTrailersFrom(from: number): void {
    const trailers = this.#responseTrailers as HeaderMap;
    const positions = (this.#hooks as ChainHooks).encodeTrailers;
    for (let k = 0; k < positions.length; k++) {
      const i = positions[k] as number;
      if (i > from) continue;
      if (i < this.#encodeStop) return;
      this.#encodeCalling = i;
      const status = (this.#filters[i] as Required<HttpFilter>).encodeTrailers(trailers);
      this.#encodeCalling = -1;
      if (this.#done || trailers !== this.#responseTrailers) return;
      const resumed = this.#takeEncodeResumed();
      const added = this.#encodeReplaced;
      if (added !== undefined) {
        this.#encodeReplaced = undefined;
        // Behind what the filter itself holds back, else straight to the filters that follow.
        if (i === this.#encodeStop) this.#holdResponse(added);
        else this.#encodeDataFrom(i - 1, added, false);
        if (this.#done || trailers !== this.#responseTrailers) return;
      }
      if (i === this.#encodeStop) {
        if (status === FilterStatus.continue || resumed) this.#resumeEncoding();
        return;
      }
      if (status === FilterStatus.stopIteration && !resumed) {
        this.#encodeStop = i;
        return;
      }
    }
    if (this.#encodeStop < 0) this.#sendTrailers(trailers);
  }

  #sendTrailers(trailers: HeaderMap): void {
    if (this.#trailersSentAsData) this.writeData(noBytes, true);
    else this.writeTrailers(trailers);
    this.finish();
  }

  continueEncoding(): void {
    if (this.#done) return;
    if (this.#encodeCalling >= 0) this.#encodeResumed = true;
    else if (this.#encodeStop >= 0) this.#resumeEncoding();
  }

  #resumeEncoding(): void {
    const next = this.#encodeStop - 1;
    const headers = this.#responseHeaders;
    this.#encodeStop = -1;
    if (!this.#responseStarted) this.#encodeHeadersFrom(next);
    if (this.#done || headers !== this.#responseHeaders) return;
    const held = this.#encodeHeld;
    if (held !== undefined) {
      this.#encodeHeld = undefined;
      this.#encodeDataFrom(next, held.joined(), this.#encodeEnd && this.#responseTrailers === undefined);
      if (this.#done || headers !== this.#responseHeaders) return;
    }
    if (this.#responseTrailers !== undefined) this.#encodeTrailersFrom(next);
  }

  // === local replies and ends ===

  sendLocalReply(original: LocalReply): void {
    if (this.#done) return;
    const reply = this.mapLocalReply(original);
    this.streamInfo.responseFlags |= reply.flags;
    this.streamInfo.responseCodeDetails = reply.details;
    if (this.#responseStarted) {
      this.resetStream('local reset');
      return;
    }
    this.#localReply = true;
    this.#decodeHeld = undefined;
    this.#encodeHeld = undefined;
    this.#encodeStop = -1;
    this.#encodeReplaced = undefined;
    this.#trailersSentAsData = false;
    this.#responseTrailers = undefined;
    const request = this.#requestHeaders;
    const grpc = this.#grpcRequest;
    const headers = localReplyHeaders(reply, grpc);
    reply.modifyHeaders?.(headers);
    const headersOnly = reply.body === '' || grpc || request?.method === 'HEAD';
    this.#encodeEnd = headersOnly;
    this.#startEncoding(headers, headersOnly);
    if (!headersOnly && headers === this.#responseHeaders) this.#encodeBody(Buffer.from(reply.body), true);
  }

  resetStream(reason: ResetReason): void {
    if (this.#done) return;
    this.resetDownstream(reason);
    this.finish();
  }

  /** Ends the stream: completes the record, logs, destroys the filters. Calls after the first do nothing. */
  protected finish(): void {
    if (this.#done) return;
    this.#done = true;
    const info = this.streamInfo;
    info.end = batchNow();
    const hooks = this.#hooks;
    const filters = this.#filters;
    if (hooks !== undefined) {
      const { onStreamComplete } = hooks;
      for (let k = 0; k < onStreamComplete.length; k++)
        (filters[onStreamComplete[k] as number] as Required<HttpFilter>).onStreamComplete();
    }
    this.onFinished();
    if (hooks !== undefined) {
      const { onDestroy } = hooks;
      for (let k = 0; k < onDestroy.length; k++)
        (filters[onDestroy[k] as number] as Required<HttpFilter>).onDestroy();
    }
    this.#decodeHeld = undefined;
    this.#encodeHeld = undefined;
  }
}
