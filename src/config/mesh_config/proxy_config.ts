/** ProxyConfig (`istio.mesh.v1alpha1`): settings of one proxy; MeshConfig.defaultConfig and `proxy.istio.io/config`. */
import type { ClientTLSSettings, TcpKeepalive } from '../kinds/destination_rule/types.ts';

export type InterceptionMode = 'REDIRECT' | 'TPROXY' | 'NONE';
export type TracingServiceName =
  | 'APP_LABEL_AND_NAMESPACE'
  | 'CANONICAL_NAME_ONLY'
  | 'CANONICAL_NAME_AND_NAMESPACE';
export type ForwardClientCertDetails =
  | 'UNDEFINED'
  | 'SANITIZE'
  | 'FORWARD_ONLY'
  | 'APPEND_FORWARD'
  | 'SANITIZE_SET'
  | 'ALWAYS_FORWARD_ONLY';

/** Settings of one proxy. */
export interface ProxyConfig {
  /** Folder of generated files. Default `./etc/istio/proxy`. */
  readonly configPath?: string;
  /** Envoy's program. Default `/usr/local/bin/envoy`. */
  readonly binaryPath?: string;
  /** Name of the proxy's cluster. Default `istio-proxy`; excludes tracingServiceName. */
  readonly serviceCluster?: string;
  /** How traces name the service. */
  readonly tracingServiceName?: TracingServiceName;
  /** How long a draining listener lives. Default 45s. */
  readonly drainDuration?: string;
  /** Address of the control plane. Default `istiod.istio-system.svc:15012`. */
  readonly discoveryAddress?: string;
  /** Deprecated; no effect. */
  readonly discoveryRefreshDelay?: string;
  /** Deprecated: see tracing. */
  readonly zipkinAddress?: string;
  /** `host:port` for statsd. Absent: none. */
  readonly statsdUdpAddress?: string;
  /** Deprecated. */
  readonly envoyMetricsServiceAddress?: string;
  /** Default 15000. */
  readonly proxyAdminPort?: number;
  /** Deprecated. */
  readonly availabilityZone?: string;
  /** Default MUTUAL_TLS. */
  readonly controlPlaneAuthPolicy?: 'NONE' | 'MUTUAL_TLS' | 'INHERIT';
  /** A bootstrap file in place of the generated one. */
  readonly customConfigFile?: string;
  /** Deprecated. Default 189. */
  readonly statNameLength?: number;
  /** Worker threads; 0: as many as CPU limit or cores allow. Absent: as 0. */
  readonly concurrency?: number;
  /** Template of the bootstrap file. */
  readonly proxyBootstrapTemplatePath?: string;
  /** How inbound traffic reaches the proxy. Default REDIRECT. */
  readonly interceptionMode?: InterceptionMode;
  /** Absent: as the mesh's providers say. */
  readonly tracing?: ProxyTracing;
  /** Deprecated; no effect. */
  readonly sds?: { readonly enabled?: boolean; readonly k8sSaJwtPath?: string };
  /** Target of enableEnvoyAccessLogService. */
  readonly envoyAccessLogService?: RemoteService;
  /** Target of metrics by gRPC. */
  readonly envoyMetricsService?: RemoteService;
  /** Becomes environment of the agent. Merged key by key. */
  readonly proxyMetadata?: Readonly<Record<string, string>>;
  /** Envoy's runtime layer. */
  readonly runtimeValues?: Readonly<Record<string, string>>;
  /** Agent's port for health and merged metrics. Default 15020. */
  readonly statusPort?: number;
  /** Further labels that metrics may have. */
  readonly extraStatTags?: readonly string[];
  /** Proxies in front of a gateway. Absent: none is trusted. */
  readonly gatewayTopology?: Topology;
  /** From SIGTERM to the end of draining. Default 5s. */
  readonly terminationDrainDuration?: string;
  readonly meshId?: string;
  /** Probe of the application, for workloads outside Kubernetes. */
  readonly readinessProbe?: ReadinessProbe;
  /** Further statistics to keep. */
  readonly proxyStatsMatcher?: ProxyStatsMatcher;
  /** Starts the application after the proxy. Absent: false. */
  readonly holdApplicationUntilProxyStarts?: boolean;
  /** Further roots for the proxy. */
  readonly caCertificatesPem?: readonly string[];
  readonly image?: { readonly imageType?: string };
  readonly privateKeyProvider?: PrivateKeyProvider;
  /** Headers that the proxy adds or hides. */
  readonly proxyHeaders?: ProxyHeaders;
  /** How often access logs are flushed. Absent: 1s. */
  readonly fileFlushInterval?: string;
  /** Absent: 64. */
  readonly fileFlushMinSizeKb?: number;
  /** Compresses metrics answers. Absent: true. */
  readonly statsCompression?: boolean;
  /** Timeouts and buffer limits of connections. Absent: the profile SIDECAR. */
  readonly connectionSettings?: ConnectionSettings;
}

/** Tracing of the proxy; one tracer. */
export interface ProxyTracing {
  readonly zipkin?: { readonly address?: string };
  readonly lightstep?: { readonly address?: string; readonly accessToken?: string };
  readonly datadog?: { readonly address?: string };
  readonly stackdriver?: {
    readonly debug?: boolean;
    readonly maxNumberOfAttributes?: number;
    readonly maxNumberOfAnnotations?: number;
    readonly maxNumberOfMessageEvents?: number;
  };
  readonly openCensusAgent?: {
    readonly address?: string;
    readonly context?: readonly OpenCensusTraceContext[];
  };
  readonly customTags?: Readonly<Record<string, ProxyTracingCustomTag>>;
  /** Longest path in a span. Default 256. */
  readonly maxPathTagLength?: number;
  /** Percent of requests, 0 to 100. Default 1. */
  readonly sampling?: number;
  readonly tlsSettings?: ClientTLSSettings;
  /** Default true. */
  readonly enableIstioTags?: boolean;
}

export type OpenCensusTraceContext =
  | 'UNSPECIFIED'
  | 'W3C_TRACE_CONTEXT'
  | 'GRPC_BIN'
  | 'CLOUD_TRACE_CONTEXT'
  | 'B3';

/** One source of a tag's value. */
export interface ProxyTracingCustomTag {
  readonly literal?: { readonly value?: string };
  readonly environment?: { readonly name?: string; readonly defaultValue?: string };
  readonly header?: { readonly name?: string; readonly defaultValue?: string };
}

/** A service by address. */
export interface RemoteService {
  /** `host:port`. */
  readonly address?: string;
  readonly tlsSettings?: ClientTLSSettings;
  readonly tcpKeepalive?: TcpKeepalive;
}

/** Proxies in front of a gateway. */
export interface Topology {
  /** Absent: 0. */
  readonly numTrustedProxies?: number;
  /** Absent: SANITIZE_SET for gateways, APPEND_FORWARD for sidecars. */
  readonly forwardClientCertDetails?: ForwardClientCertDetails;
  /** Present: the PROXY header is read. */
  readonly proxyProtocol?: Readonly<Record<string, never>>;
}

/** Statistics to keep beyond Istio's own. */
export interface ProxyStatsMatcher {
  readonly inclusionPrefixes?: readonly string[];
  readonly inclusionSuffixes?: readonly string[];
  readonly inclusionRegexps?: readonly string[];
}

/** Hardware for private keys; one of both. */
export interface PrivateKeyProvider {
  readonly cryptomb?: { readonly pollDelay?: string; readonly fallback?: boolean };
  readonly qat?: { readonly pollDelay?: string; readonly fallback?: boolean };
}

/** Probe of the application; one method. */
export interface ReadinessProbe {
  readonly initialDelaySeconds?: number;
  /** Absent: 1. */
  readonly timeoutSeconds?: number;
  /** Absent: 10. */
  readonly periodSeconds?: number;
  /** Absent: 1. */
  readonly successThreshold?: number;
  /** Absent: 3. */
  readonly failureThreshold?: number;
  readonly httpGet?: {
    readonly path?: string;
    readonly port?: number;
    readonly host?: string;
    readonly scheme?: string;
    readonly httpHeaders?: readonly { readonly name?: string; readonly value?: string }[];
  };
  readonly tcpSocket?: { readonly host?: string; readonly port?: number };
  readonly exec?: { readonly command?: readonly string[] };
  readonly grpc?: { readonly port?: number; readonly service?: string };
}

/** Headers that the proxy adds or hides. */
export interface ProxyHeaders {
  /** x-forwarded-client-cert. */
  readonly forwardedClientCert?: ForwardClientCertDetails;
  readonly setCurrentClientCertDetails?: {
    readonly subject?: boolean;
    readonly cert?: boolean;
    readonly chain?: boolean;
    readonly dns?: boolean;
    readonly uri?: boolean;
  };
  /** x-request-id. */
  readonly requestId?: { readonly disabled?: boolean };
  /** Header `server`. Default value `istio-envoy`. */
  readonly server?: { readonly disabled?: boolean; readonly value?: string };
  /** x-envoy-attempt-count. */
  readonly attemptCount?: { readonly disabled?: boolean };
  /** x-envoy-upstream-service-time and others. */
  readonly envoyDebugHeaders?: { readonly disabled?: boolean };
  /** x-envoy-peer-metadata; IN_MESH sends them only to known services. */
  readonly metadataExchangeHeaders?: { readonly mode?: 'UNDEFINED' | 'IN_MESH' };
  readonly preserveHttp1HeaderCase?: boolean;
  readonly xForwardedHost?: { readonly enabled?: boolean };
  readonly xForwardedPort?: { readonly enabled?: boolean };
}

/** Timeouts and limits; an absent field takes the profile's value. */
export interface ConnectionSettings {
  /** EDGE is Envoy's advice for proxies that face strangers. Absent: SIDECAR. */
  readonly profile?: 'SIDECAR' | 'EDGE';
  readonly listenerPerConnectionBufferLimitBytes?: number;
  readonly clusterPerConnectionBufferLimitBytes?: number;
  readonly httpIdleTimeout?: string;
  readonly httpMaxConnectionDuration?: string;
  readonly httpDrainTimeout?: string;
  readonly httpRequestTimeout?: string;
  readonly httpRequestHeadersTimeout?: string;
  readonly httpStreamIdleTimeout?: string;
  readonly httpMaxStreamDuration?: string;
  readonly httpMaxConcurrentStreams?: number;
  readonly http2InitialStreamWindowSize?: number;
  readonly http2InitialConnectionWindowSize?: number;
  readonly httpHeadersWithUnderscoresAction?:
    | 'HEADERS_WITH_UNDERSCORES_UNSPECIFIED'
    | 'HEADERS_WITH_UNDERSCORES_ALLOW'
    | 'HEADERS_WITH_UNDERSCORES_REJECT_REQUEST'
    | 'HEADERS_WITH_UNDERSCORES_DROP_HEADER';
  readonly httpMergeSlashes?: boolean;
  readonly httpPathWithEscapedSlashesAction?:
    | 'PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED'
    | 'KEEP_UNCHANGED'
    | 'REJECT_REQUEST'
    | 'UNESCAPE_AND_REDIRECT'
    | 'UNESCAPE_AND_FORWARD';
  readonly listenerConnectionLimit?: number;
  readonly globalDownstreamConnectionLimit?: number;
}
