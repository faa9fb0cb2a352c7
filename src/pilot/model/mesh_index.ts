/** MeshConfig as the translation reads it: key `mesh` of ConfigMap `istio`, with Istio's defaults filled in. */
import { parse } from 'yaml';
import { parseDurationMs } from '#config/schema/duration.ts';
import type { ConfigMapBody } from '#config/kinds/kubernetes/types.ts';
import type { MeshConfig } from '#config/mesh_config/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import type { Resource } from '#config/resource.ts';

/** What the control plane is started with. */
export interface MeshOptions {
  /** DNS suffix of Kubernetes services. Default `cluster.local`. */
  readonly domainSuffix?: string;
  /** Name of the cluster the services come from. Default `Kubernetes`. */
  readonly clusterId?: string;
  /** Namespace of ConfigMap `istio`, and the root namespace unless MeshConfig names another. Default `istio-system`. */
  readonly namespace?: string;
  /** Name of the ConfigMap. Default `istio`. */
  readonly configMapName?: string;
}

/** Settings of the mesh, defaults filled in. */
export interface MeshIndex {
  readonly options: Required<MeshOptions>;
  readonly config: MeshConfig;
  readonly domainSuffix: string;
  readonly clusterId: string;
  readonly rootNamespace: string;
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly connectTimeoutMs: number;
  readonly protocolDetectionTimeoutMs: number;
  readonly outboundPort: number;
  readonly inboundPort: number;
  /** Port of the explicit HTTP proxy; 0: none. */
  readonly httpProxyPort: number;
  readonly autoMtls: boolean;
  readonly allowAnyOutbound: boolean;
}

/** The parsed `mesh` key; empty when there is none or it is no mapping. */
function readMeshConfig(store: ConfigStore, options: Required<MeshOptions>): MeshConfig {
  const object = store.get('ConfigMap', options.namespace, options.configMapName);
  const text = (object as Resource<ConfigMapBody> | undefined)?.body.data?.['mesh'];
  if (text === undefined) return {};
  const value: unknown = parse(text);
  return typeof value === 'object' && value !== null ? (value as MeshConfig) : {};
}

/** Fills in what MeshConfig leaves open. */
export function createMeshIndex(config: MeshConfig, options: MeshOptions = {}): MeshIndex {
  const filled: Required<MeshOptions> = {
    domainSuffix: options.domainSuffix ?? 'cluster.local',
    clusterId: options.clusterId ?? 'Kubernetes',
    namespace: options.namespace ?? 'istio-system',
    configMapName: options.configMapName ?? 'istio',
  };
  return {
    options: filled,
    config,
    domainSuffix: filled.domainSuffix,
    clusterId: filled.clusterId,
    rootNamespace: config.rootNamespace ?? filled.namespace,
    trustDomain: config.trustDomain ?? 'cluster.local',
    trustDomainAliases: config.trustDomainAliases ?? [],
    connectTimeoutMs: parseDurationMs(config.connectTimeout ?? '10s') ?? 10_000,
    protocolDetectionTimeoutMs: parseDurationMs(config.protocolDetectionTimeout ?? '0s') ?? 0,
    outboundPort: config.proxyListenPort ?? 15001,
    inboundPort: config.proxyInboundListenPort ?? 15006,
    httpProxyPort: config.proxyHttpPort ?? 0,
    autoMtls: config.enableAutoMtls ?? true,
    allowAnyOutbound: config.outboundTrafficPolicy?.mode !== 'REGISTRY_ONLY',
  };
}

/** Reads MeshConfig from the store. */
export function buildMeshIndex(store: ConfigStore, options: MeshOptions = {}): MeshIndex {
  const filled = createMeshIndex({}, options).options;
  return createMeshIndex(readMeshConfig(store, filled), filled);
}

/** Trust domains whose identities count as the mesh's own, the mesh's first. */
export function trustDomains(mesh: MeshIndex): readonly string[] {
  return [...new Set([mesh.trustDomain, ...mesh.trustDomainAliases])];
}

/** The same SPIFFE IDs in every trust domain of the mesh (MeshConfig.trustDomainAliases), without repetition. */
export function expandTrustDomains(ids: readonly string[], mesh: MeshIndex): readonly string[] {
  if (mesh.trustDomainAliases.length === 0) return ids;
  const out = new Set<string>();
  for (const id of ids) {
    out.add(id);
    const path = /^spiffe:\/\/([^/]+)(\/.*)$/.exec(id);
    const domain = path?.[1];
    if (path?.[2] === undefined || domain === undefined || !trustDomains(mesh).includes(domain)) continue;
    for (const other of trustDomains(mesh)) out.add(`spiffe://${other}${path[2]}`);
  }
  return [...out];
}
