/**
 * `envoy.filters.http.grpc_web`: turns gRPC-Web calls of browsers into gRPC calls and their answers back
 * (grpc/doc/PROTOCOL-WEB.md). Answers that are not gRPC become a `grpc-status` and a `grpc-message` of the body.
 */
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import { encodeGrpcMessage, httpToGrpcStatus, isGrpcContentType } from '../../../http/grpc.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import { WebTextDecoder, WebTextEncoder } from './text_codec.ts';

const contentTypes: ReadonlySet<string> = new Set([
  'application/grpc-web',
  'application/grpc-web+proto',
  'application/grpc-web-text',
  'application/grpc-web-text+proto',
]);
const noBytes = Buffer.alloc(0);
/** Flag of the frame that carries trailers. */
const trailersFlag = 0x80;
/** Most bytes of a body that go into `grpc-message`. */
const maxMessageBytes = 16 * 1024;

function isText(contentType: string | undefined): boolean {
  return contentType === 'application/grpc-web-text' || contentType === 'application/grpc-web-text+proto';
}

/** True for `application/grpc-web` and `+proto`, with or without parameters, in any case. */
function isBinaryGrpcWeb(contentType: string | undefined): boolean {
  const type = contentType?.split(';', 1)[0]?.trim().toLowerCase();
  return type === 'application/grpc-web' || type === 'application/grpc-web+proto';
}

/** True when a client library of gRPC-Web can read the response as it is. */
function speaksGrpc(headers: ResponseHeaderMap, endStream: boolean): boolean {
  if (endStream && headers.has('grpc-status')) return true;
  if (headers.status !== 200) return false;
  const contentType = headers.getFirst('content-type');
  return isGrpcContentType(contentType) || isBinaryGrpcWeb(contentType);
}

/** The trailers as a frame of the body. */
export function trailersFrame(trailers: HeaderMap): Buffer {
  let text = '';
  for (let i = 0; i < trailers.size; i++) text += `${trailers.names[i]}:${trailers.values[i]}\r\n`;
  const frame = Buffer.allocUnsafe(5 + text.length);
  frame[0] = trailersFlag;
  frame.writeUInt32BE(text.length, 1);
  frame.write(text, 5, 'latin1');
  return frame;
}

/** What is kept of one gRPC-Web call. */
interface Call {
  /** Set when the request is base64. */
  readonly decoder: WebTextDecoder | undefined;
  /** Set when the response is to be base64. */
  readonly encoder: WebTextEncoder | undefined;
  /** Body of a response that is not gRPC, as far as it came. */
  foreign: Buffer[] | undefined;
  foreignBytes: number;
}

export class GrpcWebFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  /** Undefined for all other requests. */
  #call: Call | undefined = undefined;

  constructor(callbacks: FilterCallbacks) {
    this.#callbacks = callbacks;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    if ((headers.seen & HeaderFlag.contentType) === 0) return FilterStatus.continue;
    const contentType = headers.getFirst('content-type');
    if (contentType === undefined || !contentTypes.has(contentType)) return FilterStatus.continue;
    this.#call = {
      decoder: isText(contentType) ? new WebTextDecoder() : undefined,
      encoder: isText(headers.getFirst('accept')) ? new WebTextEncoder() : undefined,
      foreign: undefined,
      foreignBytes: 0,
    };
    headers.remove('content-length');
    headers.set('content-type', 'application/grpc');
    headers.set('te', 'trailers');
    if (!headers.has('grpc-accept-encoding')) headers.add('grpc-accept-encoding', 'identity');
    return FilterStatus.continue;
  }

  decodeData(data: Buffer, endStream: boolean): FilterStatus {
    const decoder = this.#call?.decoder;
    if (decoder === undefined) return FilterStatus.continue;
    const decoded = decoder.decode(data);
    if (decoded === undefined) return this.#refuse('grpc_base_64_decode_failed');
    if (endStream && !decoder.complete) return this.#refuse('grpc_base_64_decode_failed_bad_size');
    this.#callbacks.replaceDecodedData(decoded);
    return FilterStatus.continue;
  }

  decodeTrailers(): FilterStatus {
    const decoder = this.#call?.decoder;
    if (decoder === undefined || decoder.complete) return FilterStatus.continue;
    return this.#refuse('grpc_base_64_decode_failed_bad_size');
  }

  #refuse(details: string): FilterStatus {
    const body = 'Bad gRPC-web request, invalid base64 data.';
    this.#callbacks.sendLocalReply({ status: 400, body, details, flags: 0 });
    return FilterStatus.stopIteration;
  }

  encodeHeaders(headers: ResponseHeaderMap, endStream: boolean): FilterStatus {
    const call = this.#call;
    if (call === undefined) return FilterStatus.continue;
    const foreign = !speaksGrpc(headers, endStream);
    headers.remove('content-length');
    headers.set(
      'content-type',
      call.encoder === undefined ? 'application/grpc-web+proto' : 'application/grpc-web-text+proto',
    );
    // A local reply may come in place of a response that was being collected.
    call.foreign = foreign && !endStream ? [] : undefined;
    call.foreignBytes = 0;
    return call.foreign === undefined ? FilterStatus.continue : FilterStatus.stopIteration;
  }

  encodeData(data: Buffer, endStream: boolean): FilterStatus {
    const call = this.#call;
    if (call === undefined) return FilterStatus.continue;
    const { encoder, foreign } = call;
    if (foreign !== undefined) {
      const room = maxMessageBytes - call.foreignBytes;
      if (room > 0) {
        foreign.push(data.subarray(0, room));
        call.foreignBytes += Math.min(room, data.length);
      }
      this.#callbacks.replaceEncodedData(noBytes);
      if (!endStream) return FilterStatus.stopIteration;
      this.#describe(call, foreign);
    } else if (encoder !== undefined) {
      const text = encoder.encode(data);
      this.#callbacks.replaceEncodedData(endStream ? Buffer.concat([text, encoder.finish(noBytes)]) : text);
    }
    return FilterStatus.continue;
  }

  encodeTrailers(trailers: HeaderMap): FilterStatus {
    const call = this.#call;
    if (call === undefined) return FilterStatus.continue;
    if (call.foreign !== undefined) {
      this.#describe(call, call.foreign);
      return FilterStatus.continue;
    }
    const frame = trailersFrame(trailers);
    this.#callbacks.sendTrailersAsData(call.encoder === undefined ? frame : call.encoder.finish(frame));
    return FilterStatus.continue;
  }

  /** Puts a response that is not gRPC into headers. */
  #describe(call: Call, body: readonly Buffer[]): void {
    call.foreign = undefined;
    const headers = this.#callbacks.responseHeaders();
    if (headers === undefined) return;
    headers.set('grpc-message', encodeGrpcMessage(Buffer.concat(body).toString()));
    headers.set('grpc-status', String(httpToGrpcStatus(headers.status)));
    headers.set('content-length', '0');
  }
}
