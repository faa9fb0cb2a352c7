/** Sends messages that are encoded already to a collector, over gRPC or HTTP, and hears only whether they were taken. */
import type { GrpcService } from '#api/gen/envoy/config/core/v3/grpc_service_pb.ts';
import type { HttpService } from '#api/gen/envoy/config/core/v3/http_service_pb.ts';
import type { HeaderMap, ResponseHeaderMap } from '../../http/header_map.ts';
import { RequestHeaderMap } from '../../http/header_map.ts';
import { durationMs } from '../../network/duration.ts';
import { frameMessage, readGrpcService } from './grpc_call.ts';
import { HttpCall } from './http_call.ts';
import type { ClusterManager } from '../upstream.ts';

/** Exports that wait for their answer; more are refused. */
const maxExports = 16;
const defaultTimeoutMs = 5000;

export interface ExportTarget {
  readonly clusterName: string;
  readonly grpc: boolean;
  readonly authority: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly timeoutMs: number;
}

/** @param method full path of the gRPC method. @throws Error that names the field. */
export function grpcTarget(service: GrpcService | undefined, method: string): ExportTarget {
  const { clusterName, authority, metadata, timeoutMs } = readGrpcService(service, defaultTimeoutMs);
  return { clusterName, grpc: true, authority, path: method, headers: metadata, timeoutMs };
}

/** @throws Error that names the field. */
export function httpTarget({ httpUri, requestHeadersToAdd, formatters }: HttpService): ExportTarget {
  if (formatters.length > 0) throw new Error('http_service.formatters are not supported');
  const target = httpUri?.httpUpstreamType;
  if (httpUri === undefined || target?.case !== 'cluster')
    throw new Error('http_service.http_uri.cluster is missing');
  const parts = /^https?:\/\/([^/?#]+)(.*)$/.exec(httpUri.uri);
  if (parts === null) throw new Error('http_service.http_uri.uri: neither http nor https');
  const [, authority = '', path = ''] = parts;
  return {
    clusterName: target.value,
    grpc: false,
    authority,
    path: path === '' ? '/' : path,
    headers: requestHeadersToAdd.map(
      ({ header }) => [header?.key.toLowerCase() ?? '', header?.value ?? ''] as const,
    ),
    timeoutMs: durationMs(httpUri.timeout) ?? defaultTimeoutMs,
  };
}

export class MessageExporter {
  readonly #target: ExportTarget;
  readonly #clusters: ClusterManager;
  #exports = 0;

  constructor(target: ExportTarget, clusters: ClusterManager) {
    this.#target = target;
    this.#clusters = clusters;
  }

  /** False when too many exports wait. @param onDone called once, maybe at once. */
  send(message: Uint8Array, onDone: (sent: boolean) => void): boolean {
    if (this.#exports >= maxExports) return false;
    const { clusterName, grpc, authority, path, headers: more, timeoutMs } = this.#target;
    const headers = new RequestHeaderMap();
    headers.method = 'POST';
    headers.path = path;
    headers.scheme = 'http';
    headers.authority = authority;
    if (grpc) headers.add('te', 'trailers');
    headers.add('content-type', grpc ? 'application/grpc' : 'application/x-protobuf');
    for (const [name, value] of more) headers.add(name, value);
    this.#exports++;
    const done = (sent: boolean): void => {
      this.#exports--;
      onDone(sent);
    };
    const call = new HttpCall(
      {
        clusterName,
        headers,
        body: grpc ? frameMessage(message) : Buffer.from(message),
        timeoutMs,
        protocol: grpc ? 'HTTP/2' : 'HTTP/1.1',
      },
      {
        onResponse: (response, _body, trailers) => done(grpc ? isGrpcOk(response, trailers) : isOk(response)),
        onFailure: () => done(false),
      },
    );
    call.start(this.#clusters);
    return true;
  }
}

function isOk({ status }: ResponseHeaderMap): boolean {
  return status >= 200 && status < 300;
}

function isGrpcOk(response: ResponseHeaderMap, trailers: HeaderMap | undefined): boolean {
  return (trailers?.getFirst('grpc-status') ?? response.getFirst('grpc-status')) === '0';
}
