/**
 * Names that Envoy, Istio and Kubernetes agree on: listeners, clusters, filters, ALPN, labels, annotations, metadata.
 * Names of clusters with parts (`outbound|80|v1|host`) are built in `cluster_name.ts`.
 */

/** Listeners and filter chains of a sidecar (Istio pilot/pkg/model). */
export const listenerName = {
  /** Captured outbound traffic, port 15001. */
  virtualOutbound: 'virtualOutbound',
  /** Captured inbound traffic, port 15006. */
  virtualInbound: 'virtualInbound',
} as const;

/** Filter chains with fixed names. */
export const filterChainName = {
  /** Outbound TCP that no other listener takes. */
  outboundCatchAllTcp: 'virtualOutbound-catchall-tcp',
  /** Outbound to the proxy's own port: dropped, it would loop. */
  outboundBlackhole: 'virtualOutbound-blackhole',
  /** Inbound to the proxy's own port: dropped, it would loop. */
  inboundBlackhole: 'virtualInbound-blackhole',
  /** Inbound HTTP to ports that no service names; TCP ones bear the listener's name. */
  inboundCatchAllHttp: 'virtualInbound-catchall-http',
  /** Default chain of outbound listeners that also serve protocols they do not know. */
  passthrough: 'PassthroughFilterChain',
} as const;

/** Clusters with fixed names. */
export const fixedCluster = {
  /** To the original destination, for traffic outside the mesh (`outboundTrafficPolicy: ALLOW_ANY`). */
  passthrough: 'PassthroughCluster',
  /** Without hosts: traffic ends there (`REGISTRY_ONLY`, no such port). */
  blackHole: 'BlackHoleCluster',
  /** To the workload's own original destination, for inbound ports that no service names. */
  inboundPassthrough: 'InboundPassthroughCluster',
  /** The agent's SDS server, in a bootstrap. */
  sds: 'sds-grpc',
  /** The agent's xDS server, in a bootstrap. */
  xds: 'xds-grpc',
  /** The proxy's own admin page, for the metrics listener 15090. */
  prometheusStats: 'prometheus_stats',
  /** The agent's status server, for the readiness listener 15021. */
  agent: 'agent',
  /** The Zipkin collector of `ProxyConfig.tracing`. */
  zipkin: 'zipkin',
} as const;

/** Virtual hosts of outbound routes for hosts that no service names. */
export const virtualHostName = {
  /** Goes to `PassthroughCluster`. */
  allowAny: 'allow_any',
  /** Answers 502. */
  blockAll: 'block_all',
} as const;

/** Address from which the proxy speaks to the application (inbound pass-through); such traffic is never captured. */
export const INBOUND_PASSTHROUGH_SOURCE = '127.0.0.6';
/** The same for IPv6. */
export const INBOUND_PASSTHROUGH_SOURCE_V6 = '::6';

/** Listener filters (Envoy's names). */
export const listenerFilter = {
  tlsInspector: 'envoy.filters.listener.tls_inspector',
  httpInspector: 'envoy.filters.listener.http_inspector',
  originalDst: 'envoy.filters.listener.original_dst',
  originalSrc: 'envoy.filters.listener.original_src',
  proxyProtocol: 'envoy.filters.listener.proxy_protocol',
  setFilterState: 'envoy.filters.listener.set_filter_state',
} as const;

/** Network filters (Envoy's names, and Istio's own). */
export const networkFilter = {
  httpConnectionManager: 'envoy.filters.network.http_connection_manager',
  tcpProxy: 'envoy.filters.network.tcp_proxy',
  rbac: 'envoy.filters.network.rbac',
  localRateLimit: 'envoy.filters.network.local_ratelimit',
  rateLimit: 'envoy.filters.network.ratelimit',
  extAuthz: 'envoy.filters.network.ext_authz',
  connectionLimit: 'envoy.filters.network.connection_limit',
  sniCluster: 'envoy.filters.network.sni_cluster',
  setFilterState: 'envoy.filters.network.set_filter_state',
  directResponse: 'envoy.filters.network.direct_response',
  echo: 'envoy.filters.network.echo',
  /** Istio: standard metrics on TCP. */
  istioStats: 'istio.stats',
  /** Istio: labels of the peer, sent ahead of the bytes with ALPN `istio-peer-exchange`. */
  metadataExchange: 'istio.metadata_exchange',
} as const;

/** HTTP filters (Envoy's names, and Istio's own). */
export const httpFilter = {
  router: 'envoy.filters.http.router',
  rbac: 'envoy.filters.http.rbac',
  jwtAuthn: 'envoy.filters.http.jwt_authn',
  extAuthz: 'envoy.filters.http.ext_authz',
  localRateLimit: 'envoy.filters.http.local_ratelimit',
  rateLimit: 'envoy.filters.http.ratelimit',
  fault: 'envoy.filters.http.fault',
  cors: 'envoy.filters.http.cors',
  csrf: 'envoy.filters.http.csrf',
  grpcWeb: 'envoy.filters.http.grpc_web',
  grpcStats: 'envoy.filters.http.grpc_stats',
  grpcHttp1Bridge: 'envoy.filters.http.grpc_http1_bridge',
  headerToMetadata: 'envoy.filters.http.header_to_metadata',
  headerMutation: 'envoy.filters.http.header_mutation',
  compressor: 'envoy.filters.http.compressor',
  buffer: 'envoy.filters.http.buffer',
  healthCheck: 'envoy.filters.http.health_check',
  statefulSession: 'envoy.filters.http.stateful_session',
  setFilterState: 'envoy.filters.http.set_filter_state',
  setMetadata: 'envoy.filters.http.set_metadata',
  originalSrc: 'envoy.filters.http.original_src',
  upstreamCodec: 'envoy.filters.http.upstream_codec',
  dynamicForwardProxy: 'envoy.filters.http.dynamic_forward_proxy',
  admissionControl: 'envoy.filters.http.admission_control',
  adaptiveConcurrency: 'envoy.filters.http.adaptive_concurrency',
  /** Istio: standard metrics. */
  istioStats: 'istio.stats',
  /** Istio: labels of the peer by headers or workload discovery. */
  metadataExchange: 'istio.metadata_exchange',
  /** Istio: ALPN towards upstream by protocol of the request. */
  istioAlpn: 'istio.alpn',
} as const;

/** Transport sockets. */
export const transportSocket = {
  tls: 'envoy.transport_sockets.tls',
  rawBuffer: 'envoy.transport_sockets.raw_buffer',
  upstreamProxyProtocol: 'envoy.transport_sockets.upstream_proxy_protocol',
} as const;

/** What listener filters find and `FilterChainMatch.transport_protocol` asks for. */
export const transportProtocol = { tls: 'tls', rawBuffer: 'raw_buffer' } as const;

/** Access loggers. */
export const accessLogger = {
  file: 'envoy.access_loggers.file',
  stdout: 'envoy.access_loggers.stdout',
  stderr: 'envoy.access_loggers.stderr',
  httpGrpc: 'envoy.access_loggers.http_grpc',
  tcpGrpc: 'envoy.access_loggers.tcp_grpc',
  openTelemetry: 'envoy.access_loggers.open_telemetry',
} as const;

/** Tracers. */
export const tracer = {
  zipkin: 'envoy.tracers.zipkin',
  openTelemetry: 'envoy.tracers.opentelemetry',
} as const;

/** Load balancing policies of `Cluster.load_balancing_policy`. */
export const loadBalancingPolicy = {
  roundRobin: 'envoy.load_balancing_policies.round_robin',
  leastRequest: 'envoy.load_balancing_policies.least_request',
  random: 'envoy.load_balancing_policies.random',
  ringHash: 'envoy.load_balancing_policies.ring_hash',
  maglev: 'envoy.load_balancing_policies.maglev',
  wrrLocality: 'envoy.load_balancing_policies.wrr_locality',
  subset: 'envoy.load_balancing_policies.subset',
  overrideHost: 'envoy.load_balancing_policies.override_host',
  clusterProvided: 'envoy.load_balancing_policies.cluster_provided',
} as const;

/** Retry extensions. */
export const retry = {
  previousHosts: 'envoy.retry_host_predicates.previous_hosts',
  omitCanaryHosts: 'envoy.retry_host_predicates.omit_canary_hosts',
  omitHostMetadata: 'envoy.retry_host_predicates.omit_host_metadata',
  previousPriorities: 'envoy.retry_priorities.previous_priorities',
} as const;

/** ALPN protocol names. */
export const alpn = {
  h2: 'h2',
  http11: 'http/1.1',
  http10: 'http/1.0',
  /** Istio: TCP between sidecars. */
  istio: 'istio',
  /** Istio: TCP between sidecars, metadata of the peer ahead. */
  istioPeerExchange: 'istio-peer-exchange',
  /** Istio: HTTP/1.0 between sidecars. */
  istioHttp10: 'istio-http/1.0',
  /** Istio: HTTP/1.1 between sidecars. */
  istioHttp11: 'istio-http/1.1',
  /** Istio: HTTP/2 between sidecars. */
  istioH2: 'istio-h2',
} as const;

/** ALPN of captured inbound HTTP under mTLS (Istio mtlsHTTPALPNs), what the peer's `istio.alpn` filter offers. */
export const mtlsHttpAlpn: readonly string[] = [alpn.istioHttp10, alpn.istioHttp11, alpn.istioH2];
/** ALPN of captured inbound TCP under mTLS (Istio mtlsTCPWithMxcALPNs). */
export const mtlsTcpAlpn: readonly string[] = [alpn.istioPeerExchange, alpn.istio];
/**
 * ALPN of captured plain HTTP, as found by `http_inspector` (Istio plaintextHTTPALPNs). `http/1.0` stands in front only
 * where HTTP/1.0 is accepted (`PILOT_HTTP10`); else such bytes pass as TCP.
 */
export const plaintextHttpAlpn: readonly string[] = [alpn.http11, 'h2c'];

/** Labels of pods, workloads, services and namespaces. */
export const label = {
  /** Name of the service a workload stands for in metrics; first of canonical-name, app.kubernetes.io/name, app. */
  canonicalName: 'service.istio.io/canonical-name',
  /** Its version; first of canonical-revision, app.kubernetes.io/version, version. */
  canonicalRevision: 'service.istio.io/canonical-revision',
  /** Name of the workload where the owner's name does not say it. */
  workloadName: 'service.istio.io/workload-name',
  /** `istio`: the workload takes mTLS; set by injection, read by endpoints. */
  tlsMode: 'security.istio.io/tlsMode',
  /** `true` or `false` on a pod; `enabled` or `disabled` on a namespace is `namespaceInjection`. */
  inject: 'sidecar.istio.io/inject',
  /** `enabled` or `disabled` on a namespace. */
  namespaceInjection: 'istio-injection',
  /** Revision of the control plane that injects. */
  revision: 'istio.io/rev',
  /** `ambient` or `none`. */
  dataplaneMode: 'istio.io/dataplane-mode',
  /** Network of a workload or gateway (`meshNetworks`). */
  network: 'topology.istio.io/network',
  /** Cluster of a workload or gateway. */
  cluster: 'topology.istio.io/cluster',
  /** Third part of a locality, on nodes. */
  subzone: 'topology.istio.io/subzone',
  /** Locality of a workload, `region.zone.subzone`. */
  locality: 'istio-locality',
  /** First part of a locality, on nodes. */
  region: 'topology.kubernetes.io/region',
  /** Second part of a locality, on nodes. */
  zone: 'topology.kubernetes.io/zone',
  /** Port on which a gateway between networks listens. */
  gatewayPort: 'networking.istio.io/gatewayPort',
  /** Kubernetes: name of an application. */
  app: 'app',
  /** Kubernetes: version of an application. */
  version: 'version',
  /** Kubernetes: recommended form of `app`. */
  kubernetesName: 'app.kubernetes.io/name',
  /** Kubernetes: recommended form of `version`. */
  kubernetesVersion: 'app.kubernetes.io/version',
  /** Gateway API: the Gateway for which a workload was made. */
  gatewayName: 'gateway.networking.k8s.io/gateway-name',
} as const;

/** Value of `label.tlsMode` for workloads that take mTLS. */
export const TLS_MODE_ISTIO = 'istio';

/** Annotations of pods, services and configuration. */
export const annotation = {
  /** What injection added, JSON. */
  sidecarStatus: 'sidecar.istio.io/status',
  /** Overrides of ProxyConfig for one pod, YAML. */
  proxyConfig: 'proxy.istio.io/config',
  /** What the pod had before injection, so that injection can be repeated. */
  proxyOverrides: 'proxy.istio.io/overrides',
  /** Injection templates, comma separated. */
  injectTemplates: 'inject.istio.io/templates',
  /** `REDIRECT`, `TPROXY` or `NONE`. */
  interceptionMode: 'sidecar.istio.io/interceptionMode',
  /** Whether HTTP probes go through the agent. */
  rewriteAppHttpProbers: 'sidecar.istio.io/rewriteAppHTTPProbers',
  /** Sidecar as restartable init container. */
  nativeSidecar: 'sidecar.istio.io/nativeSidecar',
  includeInboundPorts: 'traffic.sidecar.istio.io/includeInboundPorts',
  excludeInboundPorts: 'traffic.sidecar.istio.io/excludeInboundPorts',
  includeOutboundPorts: 'traffic.sidecar.istio.io/includeOutboundPorts',
  excludeOutboundPorts: 'traffic.sidecar.istio.io/excludeOutboundPorts',
  includeOutboundIpRanges: 'traffic.sidecar.istio.io/includeOutboundIPRanges',
  excludeOutboundIpRanges: 'traffic.sidecar.istio.io/excludeOutboundIPRanges',
  excludeInterfaces: 'traffic.sidecar.istio.io/excludeInterfaces',
  /** Port of the agent; 0 switches readiness off. */
  statusPort: 'status.sidecar.istio.io/port',
  /** Whether the agent merges metrics of the application. */
  mergeMetrics: 'prometheus.istio.io/merge-metrics',
  /** Namespaces that see a service. */
  exportTo: 'networking.istio.io/exportTo',
  /** Policy is evaluated and reported, not enforced. */
  dryRun: 'istio.io/dry-run',
  /** Extra service accounts behind a service, names of Kubernetes accounts. */
  kubernetesServiceAccounts: 'alpha.istio.io/kubernetes-serviceaccounts',
  /** Extra service accounts behind a service, full identities. */
  canonicalServiceAccounts: 'alpha.istio.io/canonical-serviceaccounts',
} as const;

/** Keys of `filter_metadata` in clusters, endpoints, routes and connections. */
export const metadataKey = {
  /** Istio: which configuration an object came from, workload of an endpoint. */
  istio: 'istio',
  /** Envoy: chooses among `Cluster.transport_socket_matches`. */
  transportSocketMatch: 'envoy.transport_socket_match',
  /** Envoy: labels for subset load balancing. */
  lb: 'envoy.lb',
} as const;

/** Secrets that the agent serves over SDS. */
export const secretName = {
  /** The workload's own certificate and key. */
  workload: 'default',
  /** Roots of the mesh. */
  root: 'ROOTCA',
} as const;

/** Headers that Istio adds. */
export const header = {
  /** Base64 of the sender's metadata. */
  peerMetadata: 'x-envoy-peer-metadata',
  /** Node id of the sender. */
  peerMetadataId: 'x-envoy-peer-metadata-id',
  /** Certificates along the way (Envoy XFCC). */
  forwardedClientCert: 'x-forwarded-client-cert',
  /** Original path, kept when a route rewrites it. */
  originalPath: 'x-envoy-original-path',
  /** Attempt number of a request, from 1. */
  attemptCount: 'x-envoy-attempt-count',
  /** Time the upstream took, milliseconds. */
  upstreamServiceTime: 'x-envoy-upstream-service-time',
  /** What routes were decorated with (Envoy `Decorator`). */
  decoratorOperation: 'x-envoy-decorator-operation',
  /** Request id, a UUID whose 13th digit carries the trace decision. */
  requestId: 'x-request-id',
} as const;

/** Static cluster of a proxy that discovers its own workload (`ISTIO_META_ENABLE_SELF_DISCOVERY`), as Istio names it. */
export const localClusterName = 'local_cluster';
