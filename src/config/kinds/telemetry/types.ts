/** Telemetry (telemetry.istio.io/v1): traces, metrics and access logs of workloads. */
import type { PolicyTargetReference, WorkloadMode, WorkloadSelector } from '../selector.ts';

/** `spec` of a Telemetry. */
export interface Telemetry {
  /** Absent, and no target: the namespace; in the root namespace, the mesh. */
  readonly selector?: WorkloadSelector;
  readonly targetRef?: PolicyTargetReference;
  readonly targetRefs?: readonly PolicyTargetReference[];
  /** Absent: inherited from the wider scope. */
  readonly tracing?: readonly Tracing[];
  /** Absent: inherited from the wider scope. */
  readonly metrics?: readonly Metrics[];
  /** Absent: inherited from the wider scope. */
  readonly accessLogging?: readonly AccessLogging[];
}

/** A provider of MeshConfig.extensionProviders. */
export interface ProviderRef {
  /** Required. */
  readonly name?: string;
}

/** Traces. */
export interface Tracing {
  /** Absent: both sides. */
  readonly match?: { readonly mode?: WorkloadMode };
  /** Only one is used. Absent: inherited, or the mesh's default provider. */
  readonly providers?: readonly ProviderRef[];
  /** 0 to 100. Absent: inherited, or the mesh's (1). */
  readonly randomSamplingPercentage?: number;
  /** Absent: inherited, or false. */
  readonly disableSpanReporting?: boolean;
  /** Tag name to source. */
  readonly customTags?: Readonly<Record<string, TracingCustomTag>>;
  /** Absent: true. */
  readonly useRequestIdForTraceSampling?: boolean;
  /** Whether Istio's own tags are set. Absent: true. */
  readonly enableIstioTags?: boolean;
  /** Whether trace headers stay as they came. Absent: false. */
  readonly disableContextPropagation?: boolean;
}

/** One source of a tag's value. */
export interface TracingCustomTag {
  readonly literal?: { readonly value?: string };
  readonly environment?: { readonly name?: string; readonly defaultValue?: string };
  readonly header?: { readonly name?: string; readonly defaultValue?: string };
  readonly formatter?: { readonly value?: string };
}

/** Metrics. */
export interface Metrics {
  /** Absent: inherited, or the mesh's default providers. */
  readonly providers?: readonly ProviderRef[];
  /** Applied in order. */
  readonly overrides?: readonly MetricsOverrides[];
  /** For TCP; at least 1ms. Absent: 5s. */
  readonly reportingInterval?: string;
}

export type IstioMetric =
  | 'ALL_METRICS'
  | 'REQUEST_COUNT'
  | 'REQUEST_DURATION'
  | 'REQUEST_SIZE'
  | 'RESPONSE_SIZE'
  | 'TCP_OPENED_CONNECTIONS'
  | 'TCP_CLOSED_CONNECTIONS'
  | 'TCP_SENT_BYTES'
  | 'TCP_RECEIVED_BYTES'
  | 'GRPC_REQUEST_MESSAGES'
  | 'GRPC_RESPONSE_MESSAGES';

/** Changes to some metrics. */
export interface MetricsOverrides {
  /** Absent: all metrics, both sides. */
  readonly match?: MetricSelector;
  /** Absent: as it is. */
  readonly disabled?: boolean;
  /** Label name to change. */
  readonly tagOverrides?: Readonly<Record<string, TagOverride>>;
}

/** Which metrics; of metric and customMetric at most one stands. */
export interface MetricSelector {
  /** Absent: ALL_METRICS. */
  readonly metric?: IstioMetric;
  readonly customMetric?: string;
  /** Absent: both sides. */
  readonly mode?: WorkloadMode;
}

/** A change to a label. */
export interface TagOverride {
  /** Absent: UPSERT. */
  readonly operation?: 'UPSERT' | 'REMOVE';
  /** CEL; required for UPSERT, refused for REMOVE. */
  readonly value?: string;
}

/** Access logs. */
export interface AccessLogging {
  /** Absent: both sides. */
  readonly match?: { readonly mode?: WorkloadMode };
  /** Absent: inherited, or the mesh's default providers. */
  readonly providers?: readonly ProviderRef[];
  /** Absent: false. */
  readonly disabled?: boolean;
  /** Absent: every request. */
  readonly filter?: { readonly expression?: string };
}
