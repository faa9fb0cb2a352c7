/** MeshConfig with Istio's defaults, and how a user's settings lie over them. */
import type { ExtensionProvider } from './extension_provider.ts';
import type { ProxyConfig } from './proxy_config.ts';
import type { MeshConfig } from './types.ts';

type Defaulted<T, K extends keyof T> = Omit<T, K> & Required<Pick<T, K>>;

/** A ProxyConfig in which every field with a default is set. */
export type EffectiveProxyConfig = Defaulted<
  ProxyConfig,
  | 'configPath'
  | 'binaryPath'
  | 'drainDuration'
  | 'terminationDrainDuration'
  | 'discoveryAddress'
  | 'proxyAdminPort'
  | 'controlPlaneAuthPolicy'
  | 'statNameLength'
  | 'statusPort'
  | 'interceptionMode'
  | 'proxyMetadata'
>;

/** A MeshConfig in which every field with a default is set. */
export type EffectiveMeshConfig = Defaulted<
  Omit<MeshConfig, 'defaultConfig'>,
  | 'proxyListenPort'
  | 'proxyInboundListenPort'
  | 'proxyHttpPort'
  | 'connectTimeout'
  | 'hboneIdleTimeout'
  | 'protocolDetectionTimeout'
  | 'ingressClass'
  | 'ingressService'
  | 'ingressSelector'
  | 'ingressControllerMode'
  | 'enableTracing'
  | 'accessLogFile'
  | 'accessLogFormat'
  | 'accessLogEncoding'
  | 'enableEnvoyAccessLogService'
  | 'disableEnvoyListenerLog'
  | 'outboundTrafficPolicy'
  | 'inboundTrafficPolicy'
  | 'enableAutoMtls'
  | 'trustDomain'
  | 'trustDomainAliases'
  | 'defaultServiceExportTo'
  | 'defaultVirtualServiceExportTo'
  | 'defaultDestinationRuleExportTo'
  | 'rootNamespace'
  | 'localityLbSetting'
  | 'dnsRefreshRate'
  | 'h2UpgradePolicy'
  | 'enablePrometheusMerge'
  | 'extensionProviders'
  | 'defaultProviders'
  | 'pathNormalization'
> & { readonly defaultConfig: EffectiveProxyConfig };

/** Istio's ProxyConfig without any setting of a user. */
export const defaultProxyConfig: EffectiveProxyConfig = {
  configPath: './etc/istio/proxy',
  binaryPath: '/usr/local/bin/envoy',
  serviceCluster: 'istio-proxy',
  drainDuration: '45s',
  terminationDrainDuration: '5s',
  discoveryAddress: 'istiod.istio-system.svc:15012',
  proxyAdminPort: 15_000,
  controlPlaneAuthPolicy: 'MUTUAL_TLS',
  statNameLength: 189,
  statusPort: 15_020,
  interceptionMode: 'REDIRECT',
  proxyMetadata: {},
};

/** Istio's MeshConfig without any setting of a user, as its charts install it: metrics go to Prometheus. */
export const defaultMeshConfig: EffectiveMeshConfig = {
  proxyListenPort: 15_001,
  proxyInboundListenPort: 15_006,
  proxyHttpPort: 0,
  connectTimeout: '10s',
  hboneIdleTimeout: '3600s',
  protocolDetectionTimeout: '0s',
  ingressClass: 'istio',
  ingressService: 'istio-ingressgateway',
  ingressSelector: 'ingressgateway',
  ingressControllerMode: 'STRICT',
  enableTracing: true,
  accessLogFile: '',
  accessLogFormat: '',
  accessLogEncoding: 'TEXT',
  enableEnvoyAccessLogService: false,
  disableEnvoyListenerLog: false,
  defaultConfig: defaultProxyConfig,
  outboundTrafficPolicy: { mode: 'ALLOW_ANY' },
  inboundTrafficPolicy: { mode: 'PASSTHROUGH' },
  enableAutoMtls: true,
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  defaultServiceExportTo: ['*'],
  defaultVirtualServiceExportTo: ['*'],
  defaultDestinationRuleExportTo: ['*'],
  rootNamespace: 'istio-system',
  localityLbSetting: { enabled: true },
  dnsRefreshRate: '60s',
  h2UpgradePolicy: 'DO_NOT_UPGRADE',
  enablePrometheusMerge: true,
  extensionProviders: [
    { name: 'prometheus', prometheus: {} },
    { name: 'stackdriver', stackdriver: {} },
    { name: 'envoy', envoyFileAccessLog: { path: '/dev/stdout' } },
  ],
  defaultProviders: { metrics: ['prometheus'] },
  pathNormalization: { normalization: 'DEFAULT' },
};

/** A user's ProxyConfig over a base: field by field, proxyMetadata and runtimeValues key by key. */
export function mergeProxyConfig(base: EffectiveProxyConfig, own: ProxyConfig = {}): EffectiveProxyConfig {
  const merged: EffectiveProxyConfig = {
    ...base,
    ...own,
    proxyMetadata: { ...base.proxyMetadata, ...own.proxyMetadata },
  };
  const runtimeValues = { ...base.runtimeValues, ...own.runtimeValues };
  const result = Object.keys(runtimeValues).length > 0 ? { ...merged, runtimeValues } : merged;
  if (own.tracingServiceName === undefined) return result;
  // One of a pair: the user's choice removes the default of the other.
  const { serviceCluster: _, ...rest } = result;
  return rest;
}

/** A user's MeshConfig over a base: as Istio does, messages field by field, providers by name. */
export function mergeMeshConfig(base: EffectiveMeshConfig, own: MeshConfig): EffectiveMeshConfig {
  const { defaultConfig, extensionProviders, defaultProviders, outboundTrafficPolicy, ...rest } = own;
  return {
    ...base,
    ...rest,
    outboundTrafficPolicy: { ...base.outboundTrafficPolicy, ...outboundTrafficPolicy },
    localityLbSetting: { ...base.localityLbSetting, ...own.localityLbSetting },
    defaultProviders: { ...base.defaultProviders, ...defaultProviders },
    extensionProviders: mergeProviders(base.extensionProviders, extensionProviders ?? []),
    defaultConfig: mergeProxyConfig(base.defaultConfig, defaultConfig),
  };
}

function mergeProviders(
  base: readonly ExtensionProvider[],
  own: readonly ExtensionProvider[],
): readonly ExtensionProvider[] {
  const names = new Set(own.map(({ name }) => name));
  return [...base.filter(({ name }) => !names.has(name)), ...own];
}
