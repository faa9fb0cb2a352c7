/**
 * Fields of Envoy's configuration that nothing here obeys: a resource that sets one is refused by name, so that nothing is
 * silently different from what was asked for. Not in the list, though not read: hints about speed alone
 * (`max_connections_to_accept_per_socket_event`, `update_merge_window`, `use_balsa_parser`, ...).
 */
const refused: Readonly<Record<string, readonly string[]>> = {
  'envoy.config.listener.v3.Listener': [
    'fcdsConfig',
    'perConnectionBufferHighWatermarkTimeout',
    'drainType',
    'tcpFastOpenQueueLength',
    'apiListener',
    'internalListener',
    'connectionBalanceConfig',
    'enableMptcp',
    'bypassOverloadManager',
  ],
  'envoy.config.listener.v3.FilterChain': ['useProxyProto'],
  'envoy.config.core.v3.SocketAddress': ['resolverName', 'networkNamespaceFilepath'],
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager': [
    'http1SafeMaxConnectionDuration',
    'streamFlushTimeout',
    'drainTimeoutJitter',
    'flushAccessLogOnNewRequest',
    'earlyHeaderMutationExtensions',
    'forwardClientCertMatcher',
    'representIpv4RemoteAddressAsIpv4MappedIpv6',
    'pathNormalizationOptions',
    'proxyStatusConfig',
    'typedHeaderValidationConfig',
    'appendLocalOverload',
    'addProxyProtocolConnectionState',
    'forwardProtoConfig',
    'recordRouteResolutionStats',
    'accessLogOptions',
  ],
  'envoy.config.core.v3.HttpProtocolOptions': ['maxConnectionDurationJitter'],
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing': [
    'verbose',
    'spawnUpstreamSpan',
    'operation',
    'upstreamOperation',
  ],
  'envoy.config.core.v3.Http1ProtocolOptions': ['sendFullyQualifiedUrl', 'ignoreHttp11Upgrade'],
  'envoy.config.core.v3.SchemeHeaderTransformation': ['matchUpstream'],
  'envoy.config.route.v3.RouteConfiguration': ['clusterSpecifierPlugins', 'routeSpecifiers'],
  'envoy.config.route.v3.VirtualHost': ['virtualClusters', 'hedgePolicy', 'routeSpecifiers'],
  'envoy.config.route.v3.Route': ['routeSpecifiers', 'tracing'],
  'envoy.config.route.v3.RouteAction': [
    'flushTimeout',
    'earlyDataPolicy',
    'internalRedirectAction',
    'maxInternalRedirects',
    'hedgePolicy',
  ],
  'envoy.config.route.v3.WeightedCluster': ['useHashPolicy'],
  'envoy.config.route.v3.RetryPolicy': ['retryOptionsPredicates', 'refreshClusterOnRetry'],
  'envoy.config.cluster.v3.Cluster': [
    'transportSocketMatcher',
    'perConnectionBufferHighWatermarkTimeout',
    'useTcpForDnsLookups',
    'lrsServer',
    'trackTimeoutBudgets',
    'upstreamConfig',
    'trackClusterStats',
    'queuingPolicies',
  ],
  'envoy.config.cluster.v3.CircuitBreakers.Thresholds': ['maxConnectionPools'],
  'envoy.config.core.v3.BindConfig': ['localAddressSelector'],
  'envoy.config.endpoint.v3.LocalityLbEndpoints': ['ledsClusterLocalityConfig'],
  'envoy.config.endpoint.v3.ClusterLoadAssignment.Policy': ['endpointStaleAfter', 'weightedPriorityHealth'],
  'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext': ['fullScanCertsOnSniMismatch'],
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext': [
    'autoHostSni',
    'autoSniSanValidation',
    'allowRenegotiation',
  ],
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext': [
    'tlsCertificateCertificateProvider',
    'tlsCertificateCertificateProviderInstance',
    'customTlsCertificateSelector',
  ],
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext': [
    'validationContextCertificateProvider',
    'validationContextCertificateProviderInstance',
  ],
  'envoy.extensions.transport_sockets.tls.v3.TlsParameters': ['compliancePolicies'],
  'envoy.extensions.transport_sockets.tls.v3.TlsCertificate': ['ocspStaple', 'signedCertificateTimestamp'],
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy': [
    'onDemand',
    'downstreamIdleTimeout',
    'upstreamIdleTimeout',
    'maxEarlyDataBytes',
  ],
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': ['headerValidationConfig'],
  'envoy.extensions.filters.http.router.v3.Router': [
    'upstreamLog',
    'upstreamLogOptions',
    'suppressGrpcRequestFailureCodeStats',
    'rejectConnectRequestEarlyData',
  ],
  'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector': [
    'enableJa3Fingerprinting',
    'enableJa4Fingerprinting',
    'closeConnectionOnClientHelloParsingErrors',
    'maxClientHelloSize',
  ],
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz': [
    'enforceResponseHeaderLimits',
    'chargeClusterResponseStats',
  ],
  'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute': ['overrideOption'],
  'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig': ['enableUpstreamStats'],
  'envoy.config.bootstrap.v3.Bootstrap': ['hdsConfig', 'flagsPath', 'statsSinks', 'fatalActions'],
};

/** A message as the generated code gives it. */
interface Message {
  readonly $typeName: string;
}

function isSet(value: unknown): boolean {
  if (value === undefined || value === false || value === 0 || value === 0n || value === '') return false;
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length > 0;
  if (typeof value !== 'object' || value === null) return true;
  // A oneof without a choice; a map without entries. A message has its type name.
  if ('case' in value) return value.case !== undefined;
  return Object.keys(value).length > 0;
}

/**
 * Refuses a message that sets a field of the list. Members of a oneof are told by their own name.
 * @param at place of the message, to stand before the field (`route_config.`); default none.
 * @throws Error that names the field as Envoy writes it.
 */
export function refuseFields(message: Message | undefined, at = ''): void {
  if (message === undefined) return;
  const fields = refused[message.$typeName];
  if (fields === undefined) return;
  for (const field of fields)
    if (isSet((message as unknown as Record<string, unknown>)[field])) throw notSupported(at, field);
  for (const value of Object.values(message))
    if (
      typeof value === 'object' &&
      value !== null &&
      'case' in value &&
      fields.includes(value.case as string)
    )
      throw notSupported(at, value.case as string);
}

function notSupported(at: string, field: string): Error {
  return new Error(`${at}${snakeCase(field)} is not supported`);
}

/** Name of a field as protobuf writes it. */
function snakeCase(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** All that are refused, for tests: message, fields. */
export const refusedFields: Readonly<Record<string, readonly string[]>> = refused;
