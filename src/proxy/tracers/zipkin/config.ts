/** `envoy.tracers.zipkin`: B3 headers, spans as Zipkin's JSON v2 over HTTP. */
import { networkInterfaces } from 'node:os';
import { fromBinary } from '@bufbuild/protobuf';
import {
  type ZipkinConfig,
  ZipkinConfig_CollectorEndpointVersion as Version,
  ZipkinConfigSchema,
} from '#api/gen/envoy/config/trace/v3/zipkin_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { FactoryContext } from '../../factory_context.ts';
import { RequestHeaderMap } from '../../http/header_map.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import { HttpCall } from '../../upstream/async_client/http_call.ts';
import { SpanQueue } from '../span_queue.ts';
import { randomHex, type Span, type SpanTags, type Tracer, type TracerExtension } from '../tracer.ts';
import { readB3, writeB3 } from './b3.ts';

/** Reports that wait for their answer; more are dropped. */
const maxReports = 16;
const reportTimeoutMs = 5000;

/** First IPv4 address of this host that is not loopback. */
function ownAddress(): string {
  for (const addresses of Object.values(networkInterfaces()))
    for (const { family, internal, address } of addresses ?? [])
      if (family === 'IPv4' && !internal) return address;
  return '127.0.0.1';
}

class ZipkinTracer implements Tracer {
  readonly #wide: boolean;
  readonly #shared: boolean;
  readonly #queue: SpanQueue<object>;
  readonly #endpoint: object;
  readonly #proto: ZipkinConfig;
  readonly #context: FactoryContext;
  #reports = 0;

  constructor(proto: ZipkinConfig, context: FactoryContext) {
    this.#proto = proto;
    this.#context = context;
    this.#wide = proto.traceId128bit;
    this.#shared = proto.sharedSpanContext ?? true;
    this.#endpoint = { serviceName: context.node.cluster, ipv4: ownAddress(), port: 0 };
    const { runtime } = context;
    this.#queue = new SpanQueue({
      minFlush: () => runtime.number('tracing.zipkin.min_flush_spans', 5),
      flushIntervalMs: () => runtime.number('tracing.zipkin.flush_interval_ms', 5000),
      send: (spans, byTimer) => this.#send(spans, byTimer),
      onDropped: () => this.#count('reports_dropped'),
    });
  }

  #count(name: string, by = 1): void {
    this.#context.metrics.counter(`envoy_tracing_zipkin_${name}`).value += by;
  }

  start(headers: RequestHeaderMap, egress: boolean, traced: boolean): Span | undefined {
    const came = readB3(headers);
    if (came === 'refused') return undefined;
    const name = headers.authority;
    if (came.traceId === '') {
      const spanId = randomHex(8);
      const traceId = this.#wide ? randomHex(8) + spanId : spanId;
      return { traceId, spanId, parentId: '', sampled: came.sampled ?? traced, state: '', name };
    }
    const sampled = came.sampled ?? traced;
    // A server that shares its span with the client tells its side of it.
    if (!egress && this.#shared) return { ...came, sampled, state: '', name };
    return { traceId: came.traceId, spanId: randomHex(8), parentId: came.spanId, sampled, state: '', name };
  }

  inject(span: Span, headers: RequestHeaderMap): void {
    writeB3(headers, span);
  }

  report(span: Span, tags: SpanTags, info: StreamInfo, egress: boolean): void {
    const timestamp = Math.round(info.startTimeMs * 1000);
    const duration = Math.max(1, Math.round((info.end - info.start) * 1000));
    this.#queue.push({
      traceId: span.traceId,
      id: span.spanId,
      ...(span.parentId === '' ? {} : { parentId: span.parentId }),
      name: span.name,
      kind: egress ? 'CLIENT' : 'SERVER',
      ...(!egress && this.#shared ? { shared: true } : {}),
      timestamp,
      duration,
      localEndpoint: this.#endpoint,
      annotations: [{ timestamp: timestamp + duration, value: egress ? 'cr' : 'ss' }],
      tags: Object.fromEntries(tags),
    });
  }

  #send(spans: readonly object[], byTimer: boolean): boolean {
    if (byTimer) this.#count('timer_flushed');
    if (this.#reports >= maxReports) return false;
    this.#count('spans_sent', spans.length);
    const { collectorCluster: clusterName, collectorEndpoint, collectorHostname } = this.#proto;
    if (this.#context.clusterManager.get(clusterName) === undefined) {
      this.#count('reports_skipped_no_cluster');
      return true;
    }
    const headers = new RequestHeaderMap();
    headers.method = 'POST';
    headers.path = collectorEndpoint;
    headers.scheme = 'http';
    headers.authority = collectorHostname === '' ? clusterName : collectorHostname;
    headers.add('content-type', 'application/json');
    this.#reports++;
    const call = new HttpCall(
      { clusterName, headers, body: Buffer.from(JSON.stringify(spans)), timeoutMs: reportTimeoutMs },
      {
        onResponse: ({ status }) => this.#onDone(status === 202 ? 'reports_sent' : 'reports_dropped'),
        onFailure: () => this.#onDone('reports_failed'),
      },
    );
    call.start(this.#context.clusterManager);
    return true;
  }

  #onDone(counter: string): void {
    this.#reports--;
    this.#count(counter);
  }
}

export const zipkin = {
  name: 'envoy.tracers.zipkin',
  typeUrls: [typeUrlOf(ZipkinConfigSchema)],
  create(config, context) {
    const proto = fromBinary(ZipkinConfigSchema, config.value);
    if (proto.collectorService !== undefined) throw new Error('zipkin: collector_service is not supported');
    if (proto.traceContextOption !== 0) throw new Error('zipkin: trace_context_option is not supported');
    if (proto.splitSpansForRequest) throw new Error('zipkin: split_spans_for_request is not supported');
    if (proto.timestampTraceIds) throw new Error('zipkin: timestamp_trace_ids is not supported');
    if (proto.collectorEndpointVersion !== Version.HTTP_JSON)
      throw new Error('zipkin: collector_endpoint_version other than HTTP_JSON is not supported');
    if (proto.collectorCluster === '') throw new Error('zipkin: collector_cluster is missing');
    if (proto.collectorEndpoint === '') throw new Error('zipkin: collector_endpoint is missing');
    return new ZipkinTracer(proto, context);
  },
} as const satisfies TracerExtension;
