/**
 * What of the protocols we serve or read. `roots` are the messages and services our code names; all that their fields
 * lead to comes along, except what `cut` stops. Add a line here when code needs a new type, then run `gen.ts`.
 */

/** A root and why we need it; `package.*` stands for all messages of a package. */
type Roots = Record<string, string>;

/** xDS transport: what travels between control plane, agent and proxy. */
const discovery: Roots = {
  'envoy.service.discovery.v3.AggregatedDiscoveryService': 'ADS, the stream that carries everything',
  'envoy.service.cluster.v3.ClusterDiscoveryService': 'CDS alone, for proxies without ADS',
  'envoy.service.endpoint.v3.EndpointDiscoveryService': 'EDS alone',
  'envoy.service.listener.v3.ListenerDiscoveryService': 'LDS alone',
  'envoy.service.route.v3.RouteDiscoveryService': 'RDS alone',
  'envoy.service.secret.v3.SecretDiscoveryService': 'SDS, between proxy and agent',
  'envoy.service.extension.v3.ExtensionConfigDiscoveryService': 'ECDS, filter configuration on its own',
  'envoy.service.status.v3.ClientStatusDiscoveryService': 'CSDS, what a client has accepted',
  'istio.networking.nds.v1.NameTable': 'NDS, names for the DNS proxy of the agent',
};

/** The resources themselves. */
const resources: Roots = {
  'envoy.config.bootstrap.v3.Bootstrap': 'start configuration of a proxy',
  'envoy.config.listener.v3.Listener': 'LDS',
  'envoy.config.route.v3.RouteConfiguration': 'RDS',
  'envoy.config.route.v3.FilterConfig': 'per-route filter configuration with disabled / is_optional',
  'envoy.config.cluster.v3.Cluster': 'CDS',
  'envoy.config.endpoint.v3.ClusterLoadAssignment': 'EDS',
  'envoy.config.core.v3.TypedExtensionConfig': 'ECDS',
  'envoy.config.core.v3.HealthStatusSet': 'override_host status of health',
  'envoy.config.core.v3.SocketOptionsOverride': 'per-address socket options of listeners',
  'envoy.extensions.transport_sockets.tls.v3.Secret': 'SDS',
};

/** Listener filters. */
const listenerFilters: Roots = {
  'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector':
    'SNI and ALPN before the filter chain is chosen',
  'envoy.extensions.filters.listener.http_inspector.v3.HttpInspector': 'protocol sniffing',
  'envoy.extensions.filters.listener.original_dst.v3.OriginalDst': 'captured traffic',
  'envoy.extensions.filters.listener.original_src.v3.OriginalSrc': 'TPROXY capture',
  'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol':
    'PROXY protocol in front of a listener',
  'envoy.extensions.filters.listener.set_filter_state.v3.Config': 'filter state from the connection',
};

/** Network filters. */
const networkFilters: Roots = {
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager': 'HTTP',
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy': 'TCP',
  'envoy.extensions.filters.network.rbac.v3.RBAC': 'authorization policy on TCP',
  'envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit': 'new connections per second',
  'envoy.extensions.filters.network.ratelimit.v3.RateLimit': 'global rate limit on connections',
  'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz': 'CUSTOM authorization policy on TCP',
  'envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit': 'open connections per filter chain',
  'envoy.extensions.filters.network.sni_cluster.v3.SniCluster': 'gateways with AUTO_PASSTHROUGH',
  'envoy.extensions.filters.network.set_filter_state.v3.Config': 'filter state from the connection',
  'envoy.extensions.filters.network.direct_response.v3.Config': 'fixed answer, used by tests',
  'envoy.extensions.filters.network.echo.v3.Echo': 'echo, used by tests',
};

/** HTTP filters. */
const httpFilters: Roots = {
  'envoy.extensions.filters.http.router.v3.Router': 'last filter of every chain',
  'envoy.extensions.filters.http.rbac.v3.RBAC': 'authorization policy',
  'envoy.extensions.filters.http.rbac.v3.RBACPerRoute': 'the same per route',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication': 'request authentication',
  'envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig': 'the same per route',
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz': 'CUSTOM authorization policy',
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute': 'the same per route',
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit': 'rate limit in the proxy',
  'envoy.extensions.filters.http.ratelimit.v3.RateLimit': 'rate limit by a service',
  'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute': 'the same per route',
  'envoy.extensions.filters.http.fault.v3.HTTPFault': 'fault injection of VirtualService',
  'envoy.extensions.filters.http.cors.v3.Cors': 'CORS of VirtualService',
  'envoy.extensions.filters.http.cors.v3.CorsPolicy': 'the same per route',
  'envoy.extensions.filters.http.csrf.v3.CsrfPolicy': 'CSRF',
  'envoy.extensions.filters.http.grpc_web.v3.GrpcWeb': 'gRPC-Web, on every gateway',
  'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig': 'gRPC message counts, on every chain',
  'envoy.extensions.filters.http.grpc_http1_bridge.v3.Config': 'gRPC over HTTP/1.1',
  'envoy.extensions.filters.http.header_to_metadata.v3.Config': 'subset choice by header',
  'envoy.extensions.filters.http.header_mutation.v3.HeaderMutation': 'header changes outside routes',
  'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute': 'the same per route',
  'envoy.extensions.filters.http.compressor.v3.Compressor': 'gzip of responses',
  'envoy.extensions.filters.http.compressor.v3.CompressorPerRoute': 'the same per route',
  'envoy.extensions.filters.http.buffer.v3.Buffer': 'whole request before it goes on',
  'envoy.extensions.filters.http.buffer.v3.BufferPerRoute': 'the same per route',
  'envoy.extensions.filters.http.health_check.v3.HealthCheck': 'health endpoint of the proxy',
  'envoy.extensions.filters.http.stateful_session.v3.StatefulSession': 'sticky sessions',
  'envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute': 'the same per route',
  'envoy.extensions.filters.http.set_filter_state.v3.Config': 'filter state from the request',
  'envoy.extensions.filters.http.set_metadata.v3.Config': 'fixed dynamic metadata',
  'envoy.extensions.filters.http.original_src.v3.OriginalSrc': 'TPROXY capture',
  'envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec': 'last filter of upstream chains',
  'envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig': 'egress to names known per request',
  'envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig': 'the same per route',
  'envoy.extensions.filters.http.admission_control.v3.AdmissionControl': 'refusal of load by success rate',
  'envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency': 'refusal of load by latency',
  'istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig': 'istio.alpn, upstream protocol choice',
  'stats.PluginConfig': 'istio.stats, standard metrics; travels as TypedStruct',
  'envoy.extensions.filters.http.wasm.v3.Wasm': 'not run; read in configuration dumps of Envoy',
  'envoy.extensions.filters.http.lua.v3.Lua': 'not run; read in configuration dumps of Envoy',
  'envoy.extensions.filters.http.lua.v3.LuaPerRoute': 'not run; read in configuration dumps of Envoy',
  'envoy.tcp.metadataexchange.config.MetadataExchange': 'istio.metadata_exchange on TCP',
};

/** Extensions inside filters, clusters and routes. */
const extensions: Roots = {
  'udpa.type.v1.TypedStruct': 'private filters, old name (EnvoyFilter in the wild)',
  'xds.type.v3.TypedStruct': 'private filters',
  'envoy.extensions.access_loggers.file.v3.FileAccessLog': 'access log to a file',
  'envoy.extensions.access_loggers.stream.v3.StdoutAccessLog': 'access log to standard output',
  'envoy.extensions.access_loggers.stream.v3.StderrAccessLog': 'access log to standard error',
  'envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig': 'access log to a gRPC service',
  'envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig': 'the same for TCP',
  'envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig': 'access log over OTLP',
  'envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter': 'Telemetry accessLogging.filter',
  'envoy.extensions.rate_limit_descriptors.expr.v3.Descriptor': 'rate limit by a CEL expression',
  'envoy.extensions.formatter.cel.v3.Cel': '%CEL()%',
  'envoy.extensions.formatter.metadata.v3.Metadata': '%METADATA()%',
  'envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery': '%REQ_WITHOUT_QUERY()%',
  'envoy.config.trace.v3.ZipkinConfig': 'spans to Zipkin',
  'envoy.config.trace.v3.OpenTelemetryConfig': 'spans over OTLP',
  'envoy.config.trace.v3.LightstepConfig': 'bootstrap as older Istio writes it',
  'envoy.config.trace.v3.DatadogConfig': 'Telemetry provider, served to Envoy',
  'envoy.config.trace.v3.SkyWalkingConfig': 'Telemetry provider, served to Envoy',
  'envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig':
    'span resource',
  'envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig':
    'span resource',
  'envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig': 'sampler',
  'envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig': 'sampler',
  'envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig': 'sampler',
  'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext': 'TLS of listeners',
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext': 'TLS of clusters',
  'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig': 'several trust domains',
  'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer': 'plain text',
  'envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport':
    'not run; read in configuration dumps of Envoy',
  'envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport':
    'PROXY protocol to upstream',
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': 'HTTP options of clusters',
  'envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions': 'TCP options of clusters',
  'envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin': 'LB',
  'envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest': 'LB',
  'envoy.extensions.load_balancing_policies.random.v3.Random': 'LB',
  'envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash': 'LB',
  'envoy.extensions.load_balancing_policies.maglev.v3.Maglev': 'LB',
  'envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality': 'LB',
  'envoy.extensions.load_balancing_policies.subset.v3.Subset': 'LB',
  'envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst': 'LB, of gRPC clients',
  'envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost': 'LB, sticky sessions',
  'envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided':
    'LB of clusters that choose hosts',
  'envoy.extensions.clusters.aggregate.v3.ClusterConfig': 'cluster of clusters',
  'envoy.extensions.clusters.dns.v3.DnsCluster': 'hosts by DNS',
  'envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig': 'hosts by name of the request',
  'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig':
    'DNS resolver, the one Istio writes',
  'envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig':
    'DNS resolver of the system',
  'envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate': 'retry elsewhere, Istio default',
  'envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate': 'retry elsewhere',
  'envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig': 'retry elsewhere',
  'envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig':
    'retry at another priority',
  'envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig':
    'internal redirects to named routes',
  'envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig':
    'internal redirects to new routes',
  'envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig':
    'internal redirects between schemes',
  'envoy.extensions.http.original_ip_detection.xff.v3.XffConfig': 'client address',
  'envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig': 'client address',
  'envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig':
    'MeshConfig and DestinationRule option',
  'envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState': 'sticky sessions',
  'envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState': 'sticky sessions',
  'envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig': 'x-request-id',
  'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig': 'path templates',
  'envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig': 'path templates',
  'envoy.extensions.compression.gzip.compressor.v3.Gzip': 'compressor library',
  'envoy.extensions.compression.brotli.compressor.v3.Brotli': 'compressor library',
  'envoy.extensions.compression.zstd.compressor.v3.Zstd': 'compressor library',
  'envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig':
    'global connection limit',
  'envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig': 'overload by memory',
  'envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig':
    'overload by the limit of the container',
  'envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig':
    'overload by a file, used by tests',
  'envoy.config.metrics.v3.StatsdSink': 'bootstrap stats_sinks',
  'envoy.config.metrics.v3.MetricsServiceConfig': 'bootstrap stats_sinks',
  'envoy.extensions.bootstrap.internal_listener.v3.InternalListener': 'bootstrap of Envoy as Istio writes it',
  'envoy.extensions.regex_engines.v3.GoogleRE2': 'regular expressions',
  'envoy.extensions.rbac.audit_loggers.stream.v3.StdoutAuditLog': 'audit of authorization',
  'envoy.extensions.rbac.principals.mtls_authenticated.v3.Config': 'principal by certificate',
  'envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue': 'set_filter_state',
};

/** Matchers that stand in an Any. */
const matchers: Roots = {
  'xds.type.matcher.v3.Matcher': 'filter_chain_matcher, route matcher, RBAC matcher',
  'xds.type.matcher.v3.IPMatcher': 'address tries',
  'xds.type.matcher.v3.ServerNameMatcher': 'SNI',
  'xds.type.matcher.v3.HttpAttributesCelMatchInput': 'CEL input',
  'envoy.type.matcher.v3.HttpRequestHeaderMatchInput': 'matcher input',
  'envoy.type.matcher.v3.HttpRequestQueryParamMatchInput': 'matcher input',
  'envoy.type.matcher.v3.HttpResponseHeaderMatchInput': 'matcher input',
  'envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput': 'matcher input',
  'envoy.type.matcher.v3.AddressMatcher': 'matcher',
  'envoy.extensions.matching.common_inputs.network.v3.*': 'addresses, ports, SNI, ALPN as matcher inputs',
  'envoy.extensions.matching.common_inputs.ssl.v3.*': 'certificate fields as matcher inputs',
};

/** Services the proxy calls. */
const services: Roots = {
  'envoy.service.auth.v3.Authorization': 'ext_authz',
  'envoy.service.ratelimit.v3.RateLimitService': 'global rate limit',
  'envoy.service.accesslog.v3.AccessLogService': 'access log over gRPC',
  'opentelemetry.proto.collector.trace.v1.TraceService': 'spans over OTLP',
  'opentelemetry.proto.collector.logs.v1.LogsService': 'access log over OTLP',
  'grpc.health.v1.Health': 'gRPC health checks and probes',
  'google.rpc.Status': 'grpc-status-details, NACK',
  'google.rpc.Code': 'gRPC status codes',
};

/** The admin interface. */
const admin: Roots = {
  'envoy.admin.v3.ConfigDump': '/config_dump',
  'envoy.admin.v3.BootstrapConfigDump': '/config_dump',
  'envoy.admin.v3.ListenersConfigDump': '/config_dump',
  'envoy.admin.v3.ClustersConfigDump': '/config_dump',
  'envoy.admin.v3.RoutesConfigDump': '/config_dump',
  'envoy.admin.v3.EndpointsConfigDump': '/config_dump',
  'envoy.admin.v3.SecretsConfigDump': '/config_dump',
  'envoy.admin.v3.EcdsConfigDump': '/config_dump',
  'envoy.admin.v3.Clusters': '/clusters?format=json',
  'envoy.admin.v3.Listeners': '/listeners?format=json',
  'envoy.admin.v3.Certificates': '/certs',
  'envoy.admin.v3.ServerInfo': '/server_info',
  'envoy.admin.v3.Memory': '/memory',
  'envoy.data.core.v3.HealthCheckEvent': 'health check event log',
  'envoy.data.cluster.v3.OutlierDetectionEvent': 'outlier event log',
};

/** Istio's API. */
const istio: Roots = {
  'istio.v1.auth.IstioCertificateService': 'CSR of agents',
  'istio.mesh.v1alpha1.*': 'MeshConfig, ProxyConfig, MeshNetworks',
  'istio.networking.v1alpha3.*':
    'VirtualService, DestinationRule, Gateway, ServiceEntry, Sidecar, workloads, EnvoyFilter',
  'istio.networking.v1beta1.ProxyConfig': 'ProxyConfig resource',
  'istio.security.v1beta1.*': 'PeerAuthentication, RequestAuthentication, AuthorizationPolicy',
  'istio.telemetry.v1alpha1.*': 'Telemetry',
  'istio.extensions.v1alpha1.WasmPlugin': 'accepted and reported as not supported',
  'istio.type.v1beta1.*': 'selectors and target references',
  'istio.meta.v1alpha1.IstioStatus': 'status of resources',
  'istio.analysis.v1alpha1.AnalysisMessageBase': 'validation messages in a status',
};

export const roots: Roots = {
  ...discovery,
  ...resources,
  ...listenerFilters,
  ...networkFilters,
  ...httpFilters,
  ...extensions,
  ...matchers,
  ...services,
  ...admin,
  ...istio,
};

/** Where the way from a root ends, and why. A name is a message, `package.*`, or one field `Message.field`. */
export const cut: Roots = {
  'envoy.config.core.v3.GrpcService.GoogleGrpc': 'only envoy_grpc is served',
  'envoy.config.core.v3.EventServiceConfig': 'no event service',
  'envoy.config.core.v3.Http3ProtocolOptions': 'no HTTP/3',
  'envoy.config.core.v3.AlternateProtocolsCacheOptions': 'no HTTP/3',
  'envoy.config.listener.v3.UdpListenerConfig': 'no UDP listeners',
  'envoy.config.common.matcher.v3.*': 'taps and legacy matchers',
};

/** Kept without fields: code sees that the field is set and can refuse it. */
export const hollow: Roots = {
  'google.api.expr.v1alpha1.Expr': 'RBAC condition: parsed CEL, refused',
  'google.api.expr.v1alpha1.CheckedExpr': 'RBAC checked_condition, refused',
};
