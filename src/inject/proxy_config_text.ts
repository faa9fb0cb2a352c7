/** The ProxyConfig that travels in the pod: `PROXY_CONFIG`, only what differs from the defaults. */
import { type EffectiveProxyConfig, defaultProxyConfig } from '#config/mesh_config/defaults.ts';
import type { ProxyConfig } from '#config/mesh_config/proxy_config.ts';
import type { Compatibility } from './context.ts';

/** Fields in the order of `istio.mesh.v1alpha1.ProxyConfig`, so that equal settings give equal text. */
const order = Object.keys({
  configPath: 0,
  binaryPath: 0,
  serviceCluster: 0,
  tracingServiceName: 0,
  drainDuration: 0,
  discoveryAddress: 0,
  discoveryRefreshDelay: 0,
  zipkinAddress: 0,
  statsdUdpAddress: 0,
  envoyMetricsServiceAddress: 0,
  proxyAdminPort: 0,
  availabilityZone: 0,
  controlPlaneAuthPolicy: 0,
  customConfigFile: 0,
  statNameLength: 0,
  concurrency: 0,
  proxyBootstrapTemplatePath: 0,
  interceptionMode: 0,
  tracing: 0,
  sds: 0,
  envoyAccessLogService: 0,
  envoyMetricsService: 0,
  proxyMetadata: 0,
  runtimeValues: 0,
  statusPort: 0,
  extraStatTags: 0,
  gatewayTopology: 0,
  terminationDrainDuration: 0,
  meshId: 0,
  readinessProbe: 0,
  proxyStatsMatcher: 0,
  holdApplicationUntilProxyStarts: 0,
  caCertificatesPem: 0,
  image: 0,
  privateKeyProvider: 0,
  proxyHeaders: 0,
  fileFlushInterval: 0,
  fileFlushMinSizeKb: 0,
  statsCompression: 0,
  connectionSettings: 0,
} satisfies Record<keyof ProxyConfig, 0>) as readonly (keyof ProxyConfig)[];

/** Release 1.8 ran two workers unless told otherwise, and drained for other times. */
const defaults18: ProxyConfig = { ...defaultProxyConfig, concurrency: 2 };

/** Settings that are as absent when they are empty. */
const emptyIsAbsent = new Set<keyof ProxyConfig>(['zipkinAddress', 'statsdUdpAddress', 'availabilityZone']);

function sortedByName(map: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(map).sort(([first], [second]) => (first < second ? -1 : 1)));
}

/** JSON without what is default. */
export function proxyConfigText(
  config: EffectiveProxyConfig,
  compatibility: Compatibility = 'current',
): string {
  const defaults: ProxyConfig = compatibility === '1.8' ? defaults18 : defaultProxyConfig;
  const result: Record<string, unknown> = {};
  for (const name of order) {
    const value = name === 'proxyMetadata' ? sortedByName(config.proxyMetadata) : config[name];
    if (value === undefined || (value === '' && emptyIsAbsent.has(name))) continue;
    if (JSON.stringify(value) !== JSON.stringify(defaults[name])) result[name] = value;
  }
  return JSON.stringify(result);
}
