/** Spans of requests (envoy Tracing::HttpTracerUtility): when one begins, what it is called and which tags it has. */
import type { HttpConnectionManager_Tracing as Proto } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import type { CustomTag } from '#api/gen/envoy/type/tracing/v3/custom_tag_pb.ts';
import type { Counter } from '#telemetry/metrics.ts';
import { type FactoryContext, findExtension } from '../../../factory_context.ts';
import { isGrpcContentType } from '../../../http/grpc.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { formatResponseFlags } from '../../../stream_info/response_flags.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { Span, Tracer, TracerExtension } from '../../../tracers/tracer.ts';
import { traceReason, TraceReason } from './request_id.ts';

/** Envoy's default of `max_path_tag_length`. */
const defaultMaxPath = 256;
/** Custom tags of one connection manager. */
const maxCustomTags = 256;

type ReadTag = (info: StreamInfo, request: RequestHeaderMap | undefined) => string;
type TracingStats = Readonly<Record<TraceReason, Counter>>;

/** Tracing with a provider. */
export interface HttpTracing {
  readonly tracer: Tracer;
  readonly egress: boolean;
  readonly stats: TracingStats;
  readonly inject: boolean;
  readonly maxPath: number;
  readonly node: string;
  readonly zone: string;
  readonly customTags: readonly (readonly [name: string, read: ReadTag])[];
}

/** One request's span with what is said of it between the two sides. */
export interface RequestSpan {
  readonly span: Span;
  /** Operation of the route, to tell the client in the response; empty for none. */
  readonly decorated: string;
}

function metadataTag(tag: Extract<CustomTag['type'], { case: 'metadata' }>['value']): ReadTag {
  const { defaultValue, metadataKey } = tag;
  const kind = tag.kind?.kind.case ?? 'request';
  if (kind === 'route') throw new Error('metadata of routes is not supported');
  const path = (metadataKey?.path ?? []).map(({ segment }) => {
    if (segment.case !== 'key') throw new Error('metadata_key.path: only keys are supported');
    return segment.value;
  });
  const name = metadataKey?.key ?? '';
  return (info) => {
    const all =
      kind === 'request'
        ? info.dynamicMetadata?.get(name)
        : (kind === 'cluster' ? info.clusterMetadata : info.upstream?.hostMetadata)?.[name];
    let value: unknown = all;
    for (const key of path) value = (value as Record<string, unknown> | undefined | null)?.[key];
    if (value === undefined || value === null) return defaultValue;
    return typeof value === 'object' ? JSON.stringify(value) : String(value);
  };
}

function customTag(
  { tag, type }: CustomTag,
  environment: FactoryContext['environment'],
): readonly [string, ReadTag] {
  switch (type.case) {
    case 'literal': {
      const { value } = type.value;
      return [tag, () => value];
    }
    case 'environment': {
      const value = environment?.[type.value.name] ?? type.value.defaultValue;
      return [tag, () => value];
    }
    case 'requestHeader': {
      const { defaultValue } = type.value;
      const name = type.value.name.toLowerCase();
      return [tag, (_info, request) => request?.get(name) ?? defaultValue];
    }
    case 'metadata':
      return [tag, metadataTag(type.value)];
    default:
      throw new Error(`custom_tags '${tag}': ${type.case ?? 'no value'} is not supported`);
  }
}

/** Undefined without a provider. @throws Error that names what is not there. */
export function compileTracing(proto: Proto, context: FactoryContext): HttpTracing | undefined {
  const provider = proto.provider;
  if (provider === undefined) return undefined;
  if (proto.customTags.length > maxCustomTags) throw new Error(`tracing: more than ${maxCustomTags} tags`);
  const any = provider.configType.case === 'typedConfig' ? provider.configType.value : undefined;
  const found = findExtension<TracerExtension>(context.registry, 'tracer', provider.name, any);
  if (found === undefined)
    throw new Error(`tracing.provider ${provider.name}: no tracer is known for ${any?.typeUrl ?? 'it'}`);
  const counter = (name: string): Counter =>
    context.metrics.counter(`envoy_http_tracing_${name}`, {
      envoy_http_conn_manager_prefix: context.statPrefix ?? '',
    });
  return {
    tracer: found.factory.create(found.config, context),
    egress: context.direction === 'outbound',
    stats: {
      [TraceReason.none]: counter('not_traceable'),
      [TraceReason.sampled]: counter('random_sampling'),
      [TraceReason.serviceForced]: counter('service_forced'),
      [TraceReason.clientForced]: counter('client_enabled'),
    },
    inject: !proto.noContextPropagation,
    maxPath: proto.maxPathTagLength ?? defaultMaxPath,
    node: context.node.id,
    zone: context.node.locality?.zone ?? '',
    customTags: proto.customTags.map((tag) => customTag(tag, context.environment)),
  };
}

const operationHeader = 'x-envoy-decorator-operation';

/** @param operation of the route's decorator; empty for none. @param propagate tells the other side of it. */
export function startSpan(
  tracing: HttpTracing,
  headers: RequestHeaderMap,
  info: StreamInfo,
  operation: string,
  propagate: boolean,
): RequestSpan | undefined {
  const reason = traceReason(info.requestId);
  tracing.stats[reason].value++;
  const span = tracing.tracer.start(headers, tracing.egress, reason !== TraceReason.none);
  if (span === undefined) return undefined;
  let decorated = operation;
  if (operation !== '') span.name = operation;
  if (tracing.egress) {
    if (decorated !== '' && propagate) headers.set(operationHeader, decorated);
  } else {
    const asked = headers.getFirst(operationHeader);
    if (asked !== undefined) {
      if (asked !== '') {
        span.name = asked;
        decorated = '';
      }
      headers.remove(operationHeader);
    }
  }
  if (tracing.inject) tracing.tracer.inject(span, headers);
  info.traceId = span.traceId;
  info.spanId = span.spanId;
  return { span, decorated: propagate ? decorated : '' };
}

/** The operation's name between a server and its client, in the response. */
export function decorateResponse(
  tracing: HttpTracing,
  span: RequestSpan | undefined,
  headers: ResponseHeaderMap,
): void {
  if (!tracing.egress) {
    if (span !== undefined && span.decorated !== '') headers.set(operationHeader, span.decorated);
    return;
  }
  const asked = headers.getFirst(operationHeader);
  if (asked === undefined) return;
  if (asked !== '' && span !== undefined) span.span.name = asked;
  headers.remove(operationHeader);
}

function requestTags(
  tags: [string, string][],
  request: RequestHeaderMap,
  info: StreamInfo,
  maxPath: number,
): void {
  const id = request.getFirst('x-request-id');
  if (id !== undefined) tags.push(['guid:x-request-id', id]);
  const path = (request.getFirst('x-envoy-original-path') ?? request.path).slice(0, maxPath);
  tags.push([
    'http.url',
    `${request.getFirst('x-forwarded-proto') ?? request.scheme}://${request.authority}${path}`,
  ]);
  tags.push(['http.method', request.method]);
  tags.push(['downstream_cluster', request.getFirst('x-envoy-downstream-service-cluster') ?? '-']);
  tags.push(['user_agent', request.getFirst('user-agent') ?? '-']);
  tags.push(['http.protocol', info.protocol]);
  tags.push(['peer.address', info.connection.directRemoteAddress.ip]);
  const client = request.getFirst('x-client-trace-id');
  if (client !== undefined) tags.push(['guid:x-client-trace-id', client]);
  if (!isGrpcContentType(request.getFirst('content-type'))) return;
  tags.push(['grpc.path', request.path], ['grpc.authority', request.authority]);
  tags.push(['grpc.content_type', request.getFirst('content-type') ?? '']);
  const timeout = request.getFirst('grpc-timeout');
  if (timeout !== undefined) tags.push(['grpc.timeout', timeout]);
}

/** Reports the span of a stream that has ended. */
export function finishSpan(
  tracing: HttpTracing,
  { span }: RequestSpan,
  info: StreamInfo,
  request: RequestHeaderMap | undefined,
  response: ResponseHeaderMap | undefined,
  trailers: HeaderMap | undefined,
): void {
  if (!span.sampled) return;
  const tags: [string, string][] = [
    ['node_id', tracing.node],
    ['zone', tracing.zone],
  ];
  if (request !== undefined) requestTags(tags, request, info, tracing.maxPath);
  tags.push(['request_size', String(info.bytesReceived)], ['response_size', String(info.bytesSent)]);
  tags.push(['component', 'proxy']);
  if (info.clusterName !== '')
    tags.push(['upstream_cluster', info.clusterName], ['upstream_cluster.name', info.clusterStatName]);
  tags.push(['http.status_code', String(info.responseCode)]);
  tags.push(['response_flags', formatResponseFlags(info.responseFlags)]);
  const grpcStatus = trailers?.getFirst('grpc-status') ?? response?.getFirst('grpc-status');
  if (grpcStatus !== undefined && isGrpcContentType(response?.getFirst('content-type'))) {
    tags.push(['grpc.status_code', grpcStatus]);
    const message = trailers?.getFirst('grpc-message') ?? response?.getFirst('grpc-message');
    if (message !== undefined) tags.push(['grpc.message', message]);
  }
  if (info.responseCode === 0 || info.responseCode >= 500) tags.push(['error', 'true']);
  for (const [name, read] of tracing.customTags) {
    const value = read(info, request);
    if (value !== '') tags.push([name, value]);
  }
  tracing.tracer.report(span, tags, info, tracing.egress);
}
