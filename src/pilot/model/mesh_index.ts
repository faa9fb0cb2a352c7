/** MeshConfig as the translation reads it: key `mesh` of ConfigMap `istio`, with Istio's defaults filled in. */
import { parseDurationMs } from '#config/schema/duration.ts';
import { meshConfigOf } from '#config/mesh_config/config_map.ts';
import {
  defaultMeshConfig,
  type EffectiveMeshConfig,
  mergeMeshConfig,
} from '#config/mesh_config/defaults.ts';
import type { MeshConfig } from '#config/mesh_config/types.ts';
import type { ConfigStore } from '#config/store/store.ts';

/** What the control plane is started with. */
export interface MeshOptions {
  /** DNS suffix of Kubernetes services. Default `cluster.local`. */
  readonly domainSuffix?: string;
  /** Name of the cluster the services come from. Default `Kubernetes`. */
  readonly clusterId?: string;
  /** Namespace of ConfigMap `istio`, Default `istio-system`. */
  readonly namespace?: string;
  /** Name of the ConfigMap. Default `istio`. */
  readonly configMapName?: string;
}

/** Settings of the mesh, defaults filled in. */
export interface MeshIndex {
  readonly options: Required<MeshOptions>;
  readonly config: EffectiveMeshConfig;
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

function fillOptions(options: MeshOptions): Required<MeshOptions> {
  return {
    domainSuffix: options.domainSuffix ?? 'cluster.local',
    clusterId: options.clusterId ?? 'Kubernetes',
    namespace: options.namespace ?? 'istio-system',
    configMapName: options.configMapName ?? 'istio',
  };
}

function indexOf(config: EffectiveMeshConfig, options: Required<MeshOptions>): MeshIndex {
  return {
    options,
    config,
    domainSuffix: options.domainSuffix,
    clusterId: options.clusterId,
    rootNamespace: config.rootNamespace,
    trustDomain: config.trustDomain,
    trustDomainAliases: config.trustDomainAliases,
    connectTimeoutMs: parseDurationMs(config.connectTimeout) ?? 10_000,
    protocolDetectionTimeoutMs: parseDurationMs(config.protocolDetectionTimeout) ?? 0,
    outboundPort: config.proxyListenPort,
    inboundPort: config.proxyInboundListenPort,
    httpProxyPort: config.proxyHttpPort,
    autoMtls: config.enableAutoMtls,
    allowAnyOutbound: config.outboundTrafficPolicy.mode !== 'REGISTRY_ONLY',
  };
}

/** An index of settings that stand in no store. */
export function createMeshIndex(config: MeshConfig, options: MeshOptions = {}): MeshIndex {
  return indexOf(mergeMeshConfig(defaultMeshConfig, config), fillOptions(options));
}

/** Reads MeshConfig from the store. */
export function buildMeshIndex(store: ConfigStore, options: MeshOptions = {}): MeshIndex {
  const filled = fillOptions(options);
  return indexOf(meshConfigOf(store.get('ConfigMap', filled.namespace, filled.configMapName)), filled);
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
