/** PeerAuthentications, and the mode that is in force for a workload and its ports. */
import type { MutualTLSMode, PeerAuthentication } from '#config/kinds/peer_authentication/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { type ConfigObject, configObjects } from './config_object.ts';
import { hasLabels, type Labels, selectorMatches } from './labels.ts';
import type { MeshIndex } from './mesh_index.ts';
import { append } from './multimap.ts';

/** A mode that is decided. */
export type EffectiveMode = Exclude<MutualTLSMode, 'UNSET'>;

/** All PeerAuthentications by namespace, oldest first. */
export interface PeerAuthenticationIndex {
  readonly rootNamespace: string;
  readonly byNamespace: ReadonlyMap<string, readonly ConfigObject<PeerAuthentication>[]>;
}

/** What a workload does with mutual TLS. */
export interface MutualTlsMode {
  readonly mode: EffectiveMode;
  /** Ports of the workload with a mode of their own. */
  readonly ports: ReadonlyMap<number, EffectiveMode>;
}

/** Reads all PeerAuthentications. */
export function buildPeerAuthenticationIndex(store: ConfigStore, mesh: MeshIndex): PeerAuthenticationIndex {
  const byNamespace = new Map<string, ConfigObject<PeerAuthentication>[]>();
  for (const object of configObjects<PeerAuthentication>(store, 'PeerAuthentication')) {
    append(byNamespace, object.metadata.namespace, object);
  }
  return { rootNamespace: mesh.rootNamespace, byNamespace };
}

function inherit(mode: MutualTLSMode | undefined, outer: EffectiveMode): EffectiveMode {
  return mode === undefined || mode === 'UNSET' ? outer : mode;
}

/** The mode of a workload: mesh, then namespace, then workload, each filling what the narrower leaves open. */
export function mutualTlsMode(
  index: PeerAuthenticationIndex,
  namespace: string,
  labels: Labels,
): MutualTlsMode {
  const wide = (of: string) =>
    index.byNamespace.get(of)?.find(({ spec }) => !hasLabels(spec.selector?.matchLabels))?.spec.mtls?.mode;
  let mode: EffectiveMode = inherit(wide(index.rootNamespace), 'PERMISSIVE');
  mode = inherit(wide(namespace), mode);
  const own = index.byNamespace.get(namespace)?.find(({ spec }) => {
    const selector = spec.selector?.matchLabels;
    return hasLabels(selector) && selectorMatches(selector, labels);
  })?.spec;
  mode = inherit(own?.mtls?.mode, mode);
  const ports = new Map<number, EffectiveMode>();
  for (const [port, setting] of Object.entries(own?.portLevelMtls ?? {})) {
    ports.set(Number(port), inherit(setting.mode, mode));
  }
  return { mode, ports };
}
