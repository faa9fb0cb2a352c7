/** MeshConfig (`istio.mesh.v1alpha1`): key `mesh` of ConfigMap `istio`. Defaults are in defaults.ts. */
import type {
  ClientTLSSettings,
  ConnectionPoolSettings,
  LocalityLoadBalancerSetting,
  OutlierDetection,
  TcpKeepalive,
  ZoneAwareLoadBalancerSetting,
} from '../kinds/destination_rule/types.ts';
import type { HTTPRetry } from '../kinds/virtual_service/types.ts';
import type { ExtensionProvider } from './extension_provider.ts';
import type { ProxyConfig } from './proxy_config.ts';

/** Settings of the whole mesh. */
export interface MeshConfig {
  /** Port of outbound capture. Default 15001. */
  readonly proxyListenPort?: number;
  /** Port of inbound capture. Default 15006. */
  readonly proxyInboundListenPort?: number;
  /** Port of an outbound HTTP proxy listener in each sidecar. Absent or 0: none. */
  readonly proxyHttpPort?: number;
  /** Of connections to other services, at least 1ms. Default 10s. */
  readonly connectTimeout?: string;
  /** Idle limit of tunnels. Default 1h. */
  readonly hboneIdleTimeout?: string;
  /** How long protocol detection waits for bytes; 0s: for ever. Default 0s. */
  readonly protocolDetectionTimeout?: string;
  /** SO_KEEPALIVE of upstream connections. Absent: off. */
  readonly tcpKeepalive?: TcpKeepalive;
  /** Ingress class that gateways serve. Default `istio`. */
  readonly ingressClass?: string;
  /** Service whose address is reported in Ingress status. Default `istio-ingressgateway`. */
  readonly ingressService?: string;
  /** Default STRICT. */
  readonly ingressControllerMode?: 'UNSPECIFIED' | 'OFF' | 'DEFAULT' | 'STRICT';
  /** Label `istio` of gateways that serve Ingress. Default `ingressgateway`. */
  readonly ingressSelector?: string;
  /** Whether traces are made at all. Default true. */
  readonly enableTracing?: boolean;
  /** File of the access log, `/dev/stdout`. Empty: no access log. Default empty. */
  readonly accessLogFile?: string;
  /** Format of text, or JSON object of fields. Empty: Istio's format. */
  readonly accessLogFormat?: string;
  /** Default TEXT. */
  readonly accessLogEncoding?: 'TEXT' | 'JSON';
  /** Sends access logs to defaultConfig.envoyAccessLogService. Default false. */
  readonly enableEnvoyAccessLogService?: boolean;
  /** Leaves out the log of listeners for connections without a route. Default false. */
  readonly disableEnvoyListenerLog?: boolean;
  /** Settings of each proxy. Merged field by field over the defaults. */
  readonly defaultConfig?: ProxyConfig;
  /** Traffic to unknown hosts. Default ALLOW_ANY. */
  readonly outboundTrafficPolicy?: MeshOutboundTrafficPolicy;
  /** Inbound traffic to ports that no service names. Default PASSTHROUGH. */
  readonly inboundTrafficPolicy?: { readonly mode?: 'PASSTHROUGH' | 'LOCALHOST' };
  /** Further sources of configuration. */
  readonly configSources?: readonly ConfigSource[];
  /** Mutual TLS wherever the other side has a sidecar. Default true. */
  readonly enableAutoMtls?: boolean;
  /** Default `cluster.local`. */
  readonly trustDomain?: string;
  /** Trust domains that count as the same. Default none. */
  readonly trustDomainAliases?: readonly string[];
  /** Further roots that peers may have. Default none. */
  readonly caCertificates?: readonly CertificateData[];
  /** Default `[*]`. */
  readonly defaultServiceExportTo?: readonly string[];
  /** Default `[*]`. */
  readonly defaultVirtualServiceExportTo?: readonly string[];
  /** Default `[*]`. */
  readonly defaultDestinationRuleExportTo?: readonly string[];
  /** Namespace whose objects are for the whole mesh. Default `istio-system`. */
  readonly rootNamespace?: string;
  /** Default: enabled. */
  readonly localityLbSetting?: LocalityLoadBalancerSetting;
  /** Absent: off. */
  readonly zoneAwareLbSetting?: ZoneAwareLoadBalancerSetting;
  /** How often DNS names of services are resolved. Default 60s. */
  readonly dnsRefreshRate?: string;
  /** Default DO_NOT_UPGRADE. */
  readonly h2UpgradePolicy?: 'DO_NOT_UPGRADE' | 'UPGRADE';
  /** Pattern of statistics names, `%SERVICE_FQDN%` and so on. Absent: Envoy's cluster name. */
  readonly inboundClusterStatName?: string;
  /** As inboundClusterStatName, with `%SUBSET_NAME%`. */
  readonly outboundClusterStatName?: string;
  /** Deprecated. */
  readonly certificates?: readonly { readonly secretName?: string; readonly dnsNames?: readonly string[] }[];
  /** Scope of services in a mesh of several clusters. */
  readonly serviceSettings?: readonly ServiceSettings[];
  /** Scope of services by labels. */
  readonly serviceScopeConfigs?: readonly ServiceScopeConfigs[];
  /** Metrics of application and proxy on one port. Default true. */
  readonly enablePrometheusMerge?: boolean;
  /** Deprecated. */
  readonly verifyCertificateAtClient?: boolean;
  /** An external certificate authority. Absent: the control plane's. */
  readonly ca?: CA;
  /** Providers that other objects name. Merged by name over Istio's own: prometheus, stackdriver, envoy. */
  readonly extensionProviders?: readonly ExtensionProvider[];
  /** Providers in force where Telemetry names none. Default: metrics by prometheus. */
  readonly defaultProviders?: DefaultProviders;
  /** Namespaces that the control plane reads; one selector must match. Absent: all. */
  readonly discoverySelectors?: readonly LabelSelector[];
  /** Default BASE. */
  readonly pathNormalization?: ProxyPathNormalization;
  /** Absent: 2 attempts on connect-failure, refused-stream, unavailable, cancelled, retriable status codes (503). */
  readonly defaultHttpRetryPolicy?: HTTPRetry;
  /** TLS between sidecars. Default: TLS 1.3 preferred, 1.2 at least. */
  readonly meshMTLS?: TLSConfig;
  /** TLS of everything else. */
  readonly tlsDefaults?: TLSConfig;
  /** Blocks for hosts without a DestinationRule's. Absent: none. */
  readonly defaultTrafficPolicy?: DefaultTrafficPolicy;
  /** Who sees ServiceEntries. Absent: public. */
  readonly serviceEntryVisibility?: ServiceEntryVisibility;
}

export type MeshOutboundMode = 'REGISTRY_ONLY' | 'ALLOW_ANY' | 'ALLOW_ANY_DYNAMIC_DNS';

/** Traffic to unknown hosts. */
export interface MeshOutboundTrafficPolicy {
  readonly mode?: MeshOutboundMode;
  /** TLS for dynamic DNS destinations. */
  readonly tls?: ClientTLSSettings;
}

/** A source of configuration. */
export interface ConfigSource {
  /** `fs:///path`, `k8s://`, or `xds://host:port`. */
  readonly address?: string;
  readonly tlsSettings?: ClientTLSSettings;
  readonly subscribedResources?: readonly 'SERVICE_REGISTRY'[];
}

/** A root of trust; pem or spiffeBundleUrl. */
export interface CertificateData {
  readonly pem?: string;
  readonly spiffeBundleUrl?: string;
  readonly certSigners?: readonly string[];
  /** Absent: the mesh's trust domain. */
  readonly trustDomains?: readonly string[];
}

/** Scope of hosts. */
export interface ServiceSettings {
  readonly settings?: { readonly clusterLocal?: boolean };
  readonly hosts?: readonly string[];
}

/** Scope of services by labels. */
export interface ServiceScopeConfigs {
  readonly namespaceSelector?: LabelSelector;
  readonly servicesSelector?: LabelSelector;
  /** Absent: LOCAL. */
  readonly scope?: 'LOCAL' | 'GLOBAL';
}

/** An external certificate authority. */
export interface CA {
  readonly address?: string;
  readonly tlsSettings?: ClientTLSSettings;
  /** Default 10s. */
  readonly requestTimeout?: string;
  /** Default true. */
  readonly istiodSide?: boolean;
}

/** Names of extensionProviders. */
export interface DefaultProviders {
  readonly tracing?: readonly string[];
  readonly metrics?: readonly string[];
  readonly accessLogging?: readonly string[];
}

/** As in Kubernetes: all labels and all expressions must hold. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly LabelSelectorRequirement[];
}

/** One expression. */
export interface LabelSelectorRequirement {
  readonly key?: string;
  /** In, NotIn, Exists, DoesNotExist. */
  readonly operator?: string;
  readonly values?: readonly string[];
}

export type PathNormalizationType =
  | 'DEFAULT'
  | 'NONE'
  | 'BASE'
  | 'MERGE_SLASHES'
  | 'DECODE_AND_MERGE_SLASHES';

/** How paths are normalised before rules see them; DEFAULT is BASE. */
export interface ProxyPathNormalization {
  readonly normalization?: PathNormalizationType;
}

/** Bounds of TLS. */
export interface TLSConfig {
  readonly minProtocolVersion?: 'TLS_AUTO' | 'TLSV1_2' | 'TLSV1_3';
  readonly ecdhCurves?: readonly string[];
  readonly cipherSuites?: readonly string[];
}

/** Blocks for hosts without their own. */
export interface DefaultTrafficPolicy {
  readonly connectionPool?: ConnectionPoolSettings;
  readonly outlierDetection?: OutlierDetection;
}

export type Visibility = 'VISIBILITY_UNSPECIFIED' | 'NONE' | 'NAMESPACE' | 'PUBLIC';

/** Who sees ServiceEntries; the first policy that matches decides. */
export interface ServiceEntryVisibility {
  readonly defaultVisibility?: Visibility;
  readonly applyToSidecars?: boolean;
  readonly policies?: readonly {
    readonly visibility?: Visibility;
    readonly matchingRules?: readonly { readonly namespaceSelector?: LabelSelector }[];
  }[];
}
