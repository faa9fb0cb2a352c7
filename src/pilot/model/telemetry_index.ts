/** Telemetry objects, and the access logs that are in force for a workload. */
import type { AccessLogging, Telemetry } from '#config/kinds/telemetry/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { type ConfigObject, configObjects } from './config_object.ts';
import { hasLabels, type Labels, selectorMatches } from './labels.ts';
import type { MeshIndex } from './mesh_index.ts';
import { append } from './multimap.ts';

/** Which side of a call a proxy stands on. */
export type TelemetryMode = 'CLIENT' | 'SERVER';

/** All Telemetry objects by namespace, oldest first. */
export interface TelemetryIndex {
  readonly rootNamespace: string;
  readonly byNamespace: ReadonlyMap<string, readonly ConfigObject<Telemetry>[]>;
  /** Keys of labels that selectors name. */
  readonly selectorKeys: ReadonlySet<string>;
}

/** One provider to log to. */
export interface AccessLogChoice {
  readonly provider: string;
  /** CEL; empty: every request. */
  readonly filter: string;
}

/** Reads all Telemetry objects. */
export function buildTelemetryIndex(store: ConfigStore, mesh: MeshIndex): TelemetryIndex {
  const byNamespace = new Map<string, ConfigObject<Telemetry>[]>();
  const selectorKeys = new Set<string>();
  for (const object of configObjects<Telemetry>(store, 'Telemetry')) {
    if (object.spec.targetRef !== undefined || (object.spec.targetRefs ?? []).length > 0) continue;
    for (const key in object.spec.selector?.matchLabels) selectorKeys.add(key);
    append(byNamespace, object.metadata.namespace, object);
  }
  return { rootNamespace: mesh.rootNamespace, byNamespace, selectorKeys };
}

/** The objects for a workload from wide to narrow: mesh, namespace, workload. At most one of each. */
export function telemetryScopes(
  index: TelemetryIndex,
  namespace: string,
  labels: Labels,
): readonly ConfigObject<Telemetry>[] {
  const wide = (of: string) =>
    index.byNamespace.get(of)?.find(({ spec }) => !hasLabels(spec.selector?.matchLabels));
  const own = index.byNamespace.get(namespace)?.find(({ spec }) => {
    const selector = spec.selector?.matchLabels;
    return hasLabels(selector) && selectorMatches(selector, labels);
  });
  const scopes = [
    wide(index.rootNamespace),
    namespace === index.rootNamespace ? undefined : wide(namespace),
    own,
  ];
  return scopes.filter((scope) => scope !== undefined);
}

function applies(entry: AccessLogging, mode: TelemetryMode): boolean {
  const wanted = entry.match?.mode;
  return wanted === undefined || wanted === 'CLIENT_AND_SERVER' || wanted === mode;
}

/**
 * Providers to log to, or undefined when no Telemetry object and no default provider speaks of access logs (then
 * MeshConfig.accessLogFile decides). A narrower scope that names providers replaces those of the wider.
 */
export function accessLogChoices(
  index: TelemetryIndex,
  mesh: MeshIndex,
  namespace: string,
  labels: Labels,
  mode: TelemetryMode,
): readonly AccessLogChoice[] | undefined {
  const defaults = mesh.config.defaultProviders?.accessLogging ?? [];
  const scopes = telemetryScopes(index, namespace, labels).filter(
    ({ spec }) => spec.accessLogging !== undefined,
  );
  if (scopes.length === 0 && defaults.length === 0) return undefined;
  let names: readonly string[] = defaults.length > 0 ? defaults : ['envoy'];
  let chosen = new Map<string, AccessLogChoice>(
    defaults.map((provider) => [provider, { provider, filter: '' }] as const),
  );
  for (const { spec } of scopes) {
    const entries = (spec.accessLogging ?? []).filter((entry) => applies(entry, mode));
    const named = entries.flatMap(({ providers }) => (providers ?? []).map(({ name }) => name ?? ''));
    if (named.length > 0) {
      names = [...new Set(named)];
      chosen = new Map();
    }
    for (const entry of entries) {
      const own = (entry.providers ?? []).map(({ name }) => name ?? '');
      for (const provider of own.length > 0 ? own : names) {
        if (entry.disabled === true) chosen.delete(provider);
        else chosen.set(provider, { provider, filter: entry.filter?.expression ?? '' });
      }
    }
  }
  return [...chosen.values()];
}
