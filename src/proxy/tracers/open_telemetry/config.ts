/** `envoy.tracers.opentelemetry`: W3C trace context, spans over OTLP. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type OpenTelemetryConfig,
  OpenTelemetryConfigSchema,
} from '#api/gen/envoy/config/trace/v3/opentelemetry_pb.ts';
import { StaticConfigResourceDetectorConfigSchema } from '#api/gen/envoy/extensions/tracers/opentelemetry/resource_detectors/v3/static_config_resource_detector_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { FactoryContext } from '../../factory_context.ts';
import type { RequestHeaderMap } from '../../http/header_map.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import { SpanQueue } from '../span_queue.ts';
import { randomHex, type Span, type SpanTags, type Tracer, type TracerExtension } from '../tracer.ts';
import { grpcTarget, httpTarget, MessageExporter } from '../../upstream/async_client/message_exporter.ts';
import { type Attributes, encodeSpans, type OtlpSpan, type Scope } from '../../upstream/async_client/otlp.ts';
import { readTraceparent } from './traceparent.ts';

const exportMethod = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const scope: Scope = { name: 'trysail' };

function resourceOf(proto: OpenTelemetryConfig): Attributes {
  const attributes = new Map<string, string>();
  if (proto.setTelemetrySdkResourceAttributes ?? true) {
    attributes.set('telemetry.sdk.language', 'nodejs');
    attributes.set('telemetry.sdk.name', 'trysail');
  }
  if (proto.setServiceNameResourceAttribute ?? true)
    attributes.set('service.name', proto.serviceName === '' ? 'unknown_service:envoy' : proto.serviceName);
  for (const { name, typedConfig } of proto.resourceDetectors) {
    if (typedConfig?.typeUrl !== typeUrlOf(StaticConfigResourceDetectorConfigSchema))
      throw new Error(`opentelemetry: resource detector ${name} is not supported`);
    const found = fromBinary(StaticConfigResourceDetectorConfigSchema, typedConfig.value).attributes;
    for (const [key, value] of Object.entries(found)) attributes.set(key, value);
  }
  return [...attributes];
}

/** Milliseconds as nanoseconds, to the microsecond. */
function nanoseconds(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}

class OpenTelemetryTracer implements Tracer {
  readonly #queue: SpanQueue<OtlpSpan>;

  constructor(proto: OpenTelemetryConfig, context: FactoryContext) {
    const resource = resourceOf(proto);
    const ownScope = (proto.setInstrumentationScope ?? true) ? scope : undefined;
    const target =
      proto.httpService === undefined
        ? grpcTarget(proto.grpcService, exportMethod)
        : httpTarget(proto.httpService);
    const exporter = new MessageExporter(target, context.clusterManager);
    const { runtime, metrics } = context;
    const sent = metrics.counter('envoy_tracing_opentelemetry_spans_sent');
    const dropped = metrics.counter('envoy_tracing_opentelemetry_spans_dropped');
    const byTimer = metrics.counter('envoy_tracing_opentelemetry_timer_flushed');
    this.#queue = new SpanQueue<OtlpSpan>({
      minFlush: () => runtime.number('tracing.opentelemetry.min_flush_spans', 5),
      flushIntervalMs: () => runtime.number('tracing.opentelemetry.flush_interval_ms', 5000),
      send: (spans, timer) => {
        if (timer) byTimer.inc();
        return exporter.send(encodeSpans(resource, ownScope, spans), (ok) =>
          (ok ? sent : dropped).inc(spans.length),
        );
      },
      onDropped: (count) => dropped.inc(count),
    });
  }

  start(headers: RequestHeaderMap, egress: boolean, traced: boolean): Span | undefined {
    const name = egress ? `egress ${headers.authority}` : 'ingress';
    const came = headers.getFirst('traceparent');
    const spanId = randomHex(8);
    if (came === undefined)
      return { traceId: randomHex(16), spanId, parentId: '', sampled: traced, state: '', name };
    const parent = readTraceparent(came);
    // What is malformed is passed on as it is.
    if (parent === undefined) return undefined;
    const state = headers.get('tracestate') ?? '';
    return { traceId: parent.traceId, spanId, parentId: parent.spanId, sampled: parent.sampled, state, name };
  }

  inject(span: Span, headers: RequestHeaderMap): void {
    headers.set('traceparent', `00-${span.traceId}-${span.spanId}-${span.sampled ? '01' : '00'}`);
    headers.set('tracestate', span.state);
  }

  report(span: Span, tags: SpanTags, info: StreamInfo, egress: boolean): void {
    this.#queue.push({
      ...span,
      kind: egress ? 3 : 2,
      startNs: nanoseconds(info.startTimeMs),
      endNs: nanoseconds(info.startTimeMs + (info.end - info.start)),
      attributes: tags,
      failed: info.responseCode >= 500,
    });
  }
}

export const openTelemetry = {
  name: 'envoy.tracers.opentelemetry',
  typeUrls: [typeUrlOf(OpenTelemetryConfigSchema)],
  create(config, context) {
    const proto = fromBinary(OpenTelemetryConfigSchema, config.value);
    if (proto.sampler !== undefined) throw new Error('opentelemetry: sampler is not supported');
    if (proto.exporter !== undefined) throw new Error('opentelemetry: exporter is not supported');
    return new OpenTelemetryTracer(proto, context);
  },
} as const satisfies TracerExtension;
