/** MeshConfig.extensionProviders: services that authorize, trace, log and serve secrets. */

/** A named provider; one of the blocks stands. `service` is `host` or `namespace/host`. */
export interface ExtensionProvider {
  /** Unique. Required. */
  readonly name?: string;
  readonly envoyExtAuthzHttp?: EnvoyExternalAuthorizationHttpProvider;
  readonly envoyExtAuthzGrpc?: EnvoyExternalAuthorizationGrpcProvider;
  readonly zipkin?: ZipkinTracingProvider;
  /** Deprecated. */
  readonly lightstep?: ServicePortRef & { readonly accessToken?: string; readonly maxTagLength?: number };
  readonly datadog?: ServicePortRef & { readonly maxTagLength?: number };
  readonly stackdriver?: StackdriverProvider;
  /** Deprecated. */
  readonly opencensus?: ServicePortRef & {
    readonly context?: readonly (
      | 'UNSPECIFIED'
      | 'W3C_TRACE_CONTEXT'
      | 'GRPC_BIN'
      | 'CLOUD_TRACE_CONTEXT'
      | 'B3'
    )[];
    readonly maxTagLength?: number;
  };
  readonly skywalking?: ServicePortRef & { readonly accessToken?: string };
  readonly opentelemetry?: OpenTelemetryTracingProvider;
  readonly prometheus?: Readonly<Record<string, never>>;
  readonly envoyFileAccessLog?: EnvoyFileAccessLogProvider;
  readonly envoyHttpAls?: EnvoyHttpGrpcV3LogProvider;
  readonly envoyTcpAls?: EnvoyTcpGrpcV3LogProvider;
  readonly envoyOtelAls?: EnvoyOpenTelemetryLogProvider;
  readonly sds?: ServicePortRef & { readonly name?: string };
}

/** A service and its port. */
export interface ServicePortRef {
  /** Required. */
  readonly service?: string;
  /** 1 to 65535. Required. */
  readonly port?: number;
}

/** Request bodies for an authorizer. */
export interface ExtAuthzRequestBody {
  /** Longest body that is buffered. */
  readonly maxRequestBytes?: number;
  /** Sends what fits in place of refusing. Absent: false. */
  readonly allowPartialMessage?: boolean;
  /** Bytes in place of UTF-8; gRPC only. Absent: false. */
  readonly packAsBytes?: boolean;
}

/** Authorizer by HTTP. */
export interface EnvoyExternalAuthorizationHttpProvider extends ServicePortRef {
  /** Absent: 600s. */
  readonly timeout?: string;
  readonly pathPrefix?: string;
  /** Lets requests pass while the authorizer is away. Absent: false. */
  readonly failOpen?: boolean;
  readonly clearRouteCache?: boolean;
  /** Absent: 403. */
  readonly statusOnError?: string;
  /** Deprecated. */
  readonly includeHeadersInCheck?: readonly string[];
  readonly includeRequestHeadersInCheck?: readonly string[];
  readonly includeAdditionalHeadersInCheck?: Readonly<Record<string, string>>;
  readonly includeRequestBodyInCheck?: ExtAuthzRequestBody;
  readonly headersToUpstreamOnAllow?: readonly string[];
  readonly headersToDownstreamOnDeny?: readonly string[];
  readonly headersToDownstreamOnAllow?: readonly string[];
}

/** Authorizer by gRPC. */
export interface EnvoyExternalAuthorizationGrpcProvider extends ServicePortRef {
  /** Absent: 600s. */
  readonly timeout?: string;
  readonly failOpen?: boolean;
  readonly clearRouteCache?: boolean;
  /** Absent: 403. */
  readonly statusOnError?: string;
  readonly includeRequestBodyInCheck?: ExtAuthzRequestBody;
}

/** A header with a fixed value, or one from the environment. */
export interface ProviderHttpHeader {
  readonly name?: string;
  readonly value?: string;
  readonly envName?: string;
}

/** Zipkin. */
export interface ZipkinTracingProvider extends ServicePortRef {
  readonly maxTagLength?: number;
  readonly enable64bitTraceId?: boolean;
  /** Absent: `/api/v2/spans`. */
  readonly path?: string;
  /** Absent: USE_B3. */
  readonly traceContextOption?: 'USE_B3' | 'USE_B3_WITH_W3C_PROPAGATION';
  /** Absent: 5s. */
  readonly timeout?: string;
  readonly headers?: readonly ProviderHttpHeader[];
}

/** Google Cloud. */
export interface StackdriverProvider {
  readonly debug?: boolean;
  readonly maxNumberOfAttributes?: number;
  readonly maxNumberOfAnnotations?: number;
  readonly maxNumberOfMessageEvents?: number;
  readonly maxTagLength?: number;
  readonly logging?: { readonly labels?: Readonly<Record<string, string>> };
}

/** OpenTelemetry collector over HTTP. */
export interface OtelHttpService {
  readonly path?: string;
  /** Absent: 3s. */
  readonly timeout?: string;
  readonly headers?: readonly ProviderHttpHeader[];
}

/** OpenTelemetry collector over gRPC. */
export interface OtelGrpcService {
  readonly timeout?: string;
  readonly initialMetadata?: readonly ProviderHttpHeader[];
}

/** OpenTelemetry traces. */
export interface OpenTelemetryTracingProvider extends ServicePortRef {
  readonly maxTagLength?: number;
  /** Absent: gRPC. */
  readonly http?: OtelHttpService;
  readonly grpc?: OtelGrpcService;
  readonly resourceDetectors?: {
    readonly environment?: Readonly<Record<string, never>>;
    readonly dynatrace?: Readonly<Record<string, never>>;
  };
  readonly serviceAttributeEnrichment?: 'ISTIO_CANONICAL' | 'OTEL_SEMANTIC_CONVENTIONS';
  readonly dynatraceSampler?: {
    readonly tenant?: string;
    readonly clusterId?: number;
    /** Absent: 1000. */
    readonly rootSpansPerMinute?: number;
    readonly httpService?: ServicePortRef & { readonly http?: OtelHttpService };
  };
}

/** Access log to a file. */
export interface EnvoyFileAccessLogProvider {
  /** Absent: /dev/stdout. */
  readonly path?: string;
  /** Absent: Istio's text format. */
  readonly logFormat?: AccessLogFormat;
  readonly omitEmptyValues?: boolean;
}

/** Text, or labels for JSON. */
export interface AccessLogFormat {
  readonly text?: string;
  readonly labels?: Readonly<Record<string, unknown>>;
}

/** Access log of TCP by gRPC. */
export interface EnvoyTcpGrpcV3LogProvider extends ServicePortRef {
  readonly logName?: string;
  readonly filterStateObjectsToLog?: readonly string[];
}

/** Access log of HTTP by gRPC. */
export interface EnvoyHttpGrpcV3LogProvider extends EnvoyTcpGrpcV3LogProvider {
  readonly additionalRequestHeadersToLog?: readonly string[];
  readonly additionalResponseHeadersToLog?: readonly string[];
  readonly additionalResponseTrailersToLog?: readonly string[];
}

/** Access log to an OpenTelemetry collector. */
export interface EnvoyOpenTelemetryLogProvider extends ServicePortRef {
  readonly logName?: string;
  readonly logFormat?: AccessLogFormat;
}
