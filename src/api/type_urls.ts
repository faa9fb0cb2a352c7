/** Type URLs that travel in xDS, and the short names people use for them. */
import type { DescMessage } from '@bufbuild/protobuf';

const PREFIX = 'type.googleapis.com/';

/** LDS: envoy.config.listener.v3.Listener. */
export const LISTENER = `${PREFIX}envoy.config.listener.v3.Listener`;
/** RDS: envoy.config.route.v3.RouteConfiguration. */
export const ROUTE_CONFIGURATION = `${PREFIX}envoy.config.route.v3.RouteConfiguration`;
/** CDS: envoy.config.cluster.v3.Cluster. */
export const CLUSTER = `${PREFIX}envoy.config.cluster.v3.Cluster`;
/** EDS: envoy.config.endpoint.v3.ClusterLoadAssignment. */
export const CLUSTER_LOAD_ASSIGNMENT = `${PREFIX}envoy.config.endpoint.v3.ClusterLoadAssignment`;
/** SDS: envoy.extensions.transport_sockets.tls.v3.Secret. */
export const SECRET = `${PREFIX}envoy.extensions.transport_sockets.tls.v3.Secret`;
/** ECDS: envoy.config.core.v3.TypedExtensionConfig. */
export const EXTENSION_CONFIG = `${PREFIX}envoy.config.core.v3.TypedExtensionConfig`;
/** NDS, of Istio: names for the DNS proxy of the agent. */
export const NAME_TABLE = `${PREFIX}istio.networking.nds.v1.NameTable`;
/** PCDS, of Istio: changes of ProxyConfig for the agent (CA certificates of the mesh). */
export const PROXY_CONFIG = `${PREFIX}istio.mesh.v1alpha1.ProxyConfig`;
/** Bootstrap of a proxy, as `istioctl proxy-config bootstrap` reads it. */
export const BOOTSTRAP = `${PREFIX}envoy.config.bootstrap.v3.Bootstrap`;
/** Istio's health report of a workload: the agent sends it as a request of this type, nothing is answered. */
export const HEALTH_INFORMATION = `${PREFIX}istio.v1.HealthInformation`;
/** Istio's debug questions over xDS (`istioctl proxy-status` and friends); it has no prefix. */
export const DEBUG = 'istio.io/debug';

/** A filter configuration without schema, current name: xds.type.v3.TypedStruct. */
export const TYPED_STRUCT = `${PREFIX}xds.type.v3.TypedStruct`;
/** The same under its former name, which EnvoyFilter resources still use: udpa.type.v1.TypedStruct. */
export const UDPA_TYPED_STRUCT = `${PREFIX}udpa.type.v1.TypedStruct`;
/** Per-route configuration with `disabled` and `is_optional`: envoy.config.route.v3.FilterConfig. */
export const ROUTE_FILTER_CONFIG = `${PREFIX}envoy.config.route.v3.FilterConfig`;
/** Key of `typed_extension_protocol_options` of clusters, without the prefix of a URL. */
export const HTTP_PROTOCOL_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';

const shortNames: ReadonlyMap<string, string> = new Map([
  [LISTENER, 'LDS'],
  [ROUTE_CONFIGURATION, 'RDS'],
  [CLUSTER, 'CDS'],
  [CLUSTER_LOAD_ASSIGNMENT, 'EDS'],
  [SECRET, 'SDS'],
  [EXTENSION_CONFIG, 'ECDS'],
  [NAME_TABLE, 'NDS'],
  [PROXY_CONFIG, 'PCDS'],
  [BOOTSTRAP, 'BDS'],
]);

/** `LDS` for a listener's type URL and so on; the URL itself when it has no short name. For logs and metrics. */
export function shortName(typeUrl: string): string {
  return shortNames.get(typeUrl) ?? typeUrl;
}

/** The type URL of a message type, as `Any.type_url` has it. */
export function typeUrlOf(schema: DescMessage): string {
  return PREFIX + schema.typeName;
}

/** The full name of the message a type URL stands for: all after the last slash (google.protobuf.Any). */
export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}
