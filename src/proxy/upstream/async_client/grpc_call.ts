/** A unary gRPC call of the proxy's own (envoy Grpc::AsyncClient): framing and statuses over an HttpCall. */
import {
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  create,
  toBinary,
} from '@bufbuild/protobuf';
import type { GrpcService } from '#api/gen/envoy/config/core/v3/grpc_service_pb.ts';
import { GrpcStatus, httpToGrpcStatus, isGrpcContentType } from '../../http/grpc.ts';
import { type HeaderMap, RequestHeaderMap, type ResponseHeaderMap } from '../../http/header_map.ts';
import type { ConnectionInfo } from '../../network/connection.ts';
import { durationMs } from '../../network/duration.ts';
import type { Cancellable, ClusterManager } from '../upstream.ts';
import { type CallFailure, HttpCall, type HttpCallCallbacks } from './http_call.ts';

/** `envoy.config.core.v3.GrpcService`, checked. */
export interface GrpcTarget {
  readonly clusterName: string;
  /** `:authority`; the cluster's name by default. */
  readonly authority: string;
  /** 0 means no limit. */
  readonly timeoutMs: number;
  /** Names in lower case. */
  readonly metadata: readonly (readonly [name: string, value: string])[];
  readonly maxResponseBytes: number;
}

const defaultMaxResponseBytes = 4 * 1024 * 1024;

/**
 * @param defaultTimeoutMs when the service names none
 * @throws Error that names the field which cannot be used.
 */
export function readGrpcService(service: GrpcService | undefined, defaultTimeoutMs: number): GrpcTarget {
  const target = service?.targetSpecifier;
  if (service === undefined || target?.case !== 'envoyGrpc')
    throw new Error('grpc_service.envoy_grpc is missing');
  const { clusterName, authority, maxReceiveMessageLength } = target.value;
  if (clusterName === '') throw new Error('grpc_service.envoy_grpc.cluster_name is missing');
  if (service.retryPolicy !== undefined || target.value.retryPolicy !== undefined)
    throw new Error('grpc_service.retry_policy is not implemented');
  return {
    clusterName,
    authority: authority === '' ? clusterName : authority,
    timeoutMs: durationMs(service.timeout) ?? defaultTimeoutMs,
    metadata: service.initialMetadata.map(({ key, value }) => [key.toLowerCase(), value] as const),
    maxResponseBytes: maxReceiveMessageLength ?? defaultMaxResponseBytes,
  };
}

/** Exactly one of the two is called, once, maybe inside `start`; none after `cancel`. */
export interface GrpcCallCallbacks<Output extends DescMessage> {
  onResponse(message: MessageShape<Output>): void;
  /** @param status a gRPC status, never 0. */
  onFailure(status: number, message: string): void;
}

const failureStatus: Readonly<Record<CallFailure, number>> = {
  no_cluster: GrpcStatus.unavailable,
  no_healthy_host: GrpcStatus.unavailable,
  overflow: GrpcStatus.unavailable,
  connection_failure: GrpcStatus.unavailable,
  timeout: GrpcStatus.deadlineExceeded,
  reset: GrpcStatus.unavailable,
  response_too_large: GrpcStatus.resourceExhausted,
};

/** One message with its prefix of five bytes, not compressed. */
export function frameMessage(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(5 + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, 5);
  return framed;
}

/** The only message of a body; undefined when it is compressed, cut or not alone. */
export function unframeMessage(body: Buffer): Buffer | undefined {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) return undefined;
  return body.subarray(5);
}

/** `grpc-timeout` of milliseconds: at most eight digits. */
function timeoutValue(ms: number): string {
  const whole = Math.ceil(ms);
  return whole < 1e8 ? `${whole}m` : `${Math.ceil(ms / 1000)}S`;
}

function decodeMessage(text: string | undefined): string {
  if (text === undefined) return '';
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** One call. Made, started once, maybe cancelled. */
export class GrpcCall<Input extends DescMessage, Output extends DescMessage>
  implements HttpCallCallbacks, Cancellable
{
  readonly #call: HttpCall;
  readonly #method: DescMethodUnary<Input, Output>;
  readonly #callbacks: GrpcCallCallbacks<Output>;

  /** @param downstream the connection for which the call is made. */
  constructor(
    target: GrpcTarget,
    method: DescMethodUnary<Input, Output>,
    request: MessageInitShape<Input>,
    callbacks: GrpcCallCallbacks<Output>,
    downstream?: ConnectionInfo,
  ) {
    this.#method = method;
    this.#callbacks = callbacks;
    const { clusterName, timeoutMs, metadata, maxResponseBytes } = target;
    const headers = new RequestHeaderMap();
    headers.method = 'POST';
    headers.path = `/${method.parent.typeName}/${method.name}`;
    headers.scheme = 'http';
    headers.authority = target.authority;
    headers.add('te', 'trailers');
    headers.add('content-type', 'application/grpc');
    if (timeoutMs > 0) headers.add('grpc-timeout', timeoutValue(timeoutMs));
    for (const [name, value] of metadata) headers.add(name, value);
    const body = frameMessage(toBinary(method.input, create(method.input, request)));
    const max = maxResponseBytes + 5;
    this.#call = new HttpCall(
      { clusterName, headers, body, timeoutMs, maxResponseBytes: max, protocol: 'HTTP/2', downstream },
      this,
    );
  }

  start(clusters: ClusterManager): void {
    this.#call.start(clusters);
  }

  /** Gives the call up; the callbacks hear nothing more. */
  cancel(): void {
    this.#call.cancel();
  }

  onResponse(headers: ResponseHeaderMap, body: Buffer, trailers: HeaderMap | undefined): void {
    const callbacks = this.#callbacks;
    const end = trailers ?? headers;
    const text = end.getFirst('grpc-status') ?? headers.getFirst('grpc-status');
    if (text === undefined || !/^\d{1,3}$/.test(text)) {
      const grpc = headers.status === 200 && isGrpcContentType(headers.getFirst('content-type'));
      const status = grpc ? GrpcStatus.unknown : httpToGrpcStatus(headers.status);
      callbacks.onFailure(status, `no grpc-status, HTTP status ${headers.status}`);
      return;
    }
    if (Number(text) !== 0) {
      callbacks.onFailure(Number(text), decodeMessage(end.getFirst('grpc-message')));
      return;
    }
    const bytes = unframeMessage(body);
    let message: MessageShape<Output> | undefined;
    try {
      message = bytes === undefined ? undefined : fromBinary(this.#method.output, bytes);
    } catch {
      message = undefined;
    }
    if (message === undefined) callbacks.onFailure(GrpcStatus.internal, 'malformed response message');
    else callbacks.onResponse(message);
  }

  onFailure(failure: CallFailure, details: string): void {
    const why = details === '' ? failure : `${failure}: ${details}`;
    this.#callbacks.onFailure(failureStatus[failure], why);
  }
}
