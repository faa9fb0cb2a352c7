/** DestinationRules by host, and which of them a caller uses for a service. */
import type {
  DestinationRule,
  PortPolicyBlocks,
  Subset,
  TrafficPolicy,
} from '#config/kinds/destination_rule/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { type ConfigObject, configObjects, visibleIn } from './config_object.ts';
import { compareSpecificity, hostWithin, resolveHost } from './hosts.ts';
import { hasLabels, type Labels, selectorMatches } from './labels.ts';
import type { MeshIndex } from './mesh_index.ts';
import { append } from './multimap.ts';
import type { Service } from './service.ts';

/** One or several DestinationRules for the same host, callers and visibility, as one. */
export interface MergedRule {
  /** The oldest of them: its name stands in metadata. */
  readonly from: ConfigObject<DestinationRule>;
  readonly host: string;
  readonly trafficPolicy: TrafficPolicy | undefined;
  readonly subsets: readonly Subset[];
}

interface NamespaceRules {
  readonly exact: ReadonlyMap<string, readonly MergedRule[]>;
  /** Most specific first. */
  readonly wildcards: readonly MergedRule[];
}

/** All DestinationRules. */
export interface DestinationRuleIndex {
  readonly byNamespace: ReadonlyMap<string, NamespaceRules>;
  /** Keys of labels that workload selectors name. */
  readonly selectorKeys: ReadonlySet<string>;
}

function mergeKey(rule: ConfigObject<DestinationRule>, host: string): string {
  return JSON.stringify([host, rule.spec.exportTo ?? null, rule.spec.workloadSelector?.matchLabels ?? null]);
}

/** Adds what the older rules left open: subsets with new names, and a traffic policy when there was none. */
function merge(into: MergedRule, rule: ConfigObject<DestinationRule>): MergedRule {
  const names = new Set(into.subsets.map(({ name }) => name));
  return {
    ...into,
    trafficPolicy: into.trafficPolicy ?? rule.spec.trafficPolicy,
    subsets: [...into.subsets, ...(rule.spec.subsets ?? []).filter(({ name }) => !names.has(name))],
  };
}

/** Reads all DestinationRules. */
export function buildDestinationRuleIndex(store: ConfigStore, mesh: MeshIndex): DestinationRuleIndex {
  const merged = new Map<string, Map<string, MergedRule>>();
  const selectorKeys = new Set<string>();
  for (const rule of configObjects<DestinationRule>(store, 'DestinationRule')) {
    const { namespace } = rule.metadata;
    if (rule.spec.host === undefined) continue;
    for (const key in rule.spec.workloadSelector?.matchLabels) selectorKeys.add(key);
    const host = resolveHost(rule.spec.host, namespace, mesh.domainSuffix);
    let rules = merged.get(namespace);
    if (rules === undefined) merged.set(namespace, (rules = new Map()));
    const key = mergeKey(rule, host);
    const present = rules.get(key);
    rules.set(
      key,
      present === undefined
        ? {
            from: rule,
            host,
            trafficPolicy: rule.spec.trafficPolicy,
            subsets: rule.spec.subsets ?? [],
          }
        : merge(present, rule),
    );
  }
  const byNamespace = new Map<string, NamespaceRules>();
  for (const [namespace, rules] of merged) {
    const exact = new Map<string, MergedRule[]>();
    const wildcards: MergedRule[] = [];
    for (const rule of rules.values()) {
      if (rule.host.startsWith('*')) wildcards.push(rule);
      else append(exact, rule.host, rule);
    }
    wildcards.sort((a, b) => compareSpecificity(a.host, b.host));
    byNamespace.set(namespace, { exact, wildcards });
  }
  return { byNamespace, selectorKeys };
}

/** Of rules for one host, one whose selector chooses the caller wins over one without a selector. */
function choose(
  rules: readonly MergedRule[],
  accept: (rule: MergedRule) => boolean,
  labels: Labels | undefined,
): MergedRule | undefined {
  let general: MergedRule | undefined;
  for (const rule of rules) {
    if (!accept(rule)) continue;
    const selector = rule.from.spec.workloadSelector?.matchLabels;
    if (!hasLabels(selector)) general ??= rule;
    else if (labels !== undefined && selectorMatches(selector, labels)) return rule;
  }
  return general;
}

/**
 * The rule that a caller uses for a service. Namespaces are asked in the order: the caller's, the service's, the root
 * namespace; in each the exact host, then the most specific wildcard.
 * @param labels Labels of the caller; workload selectors hold only in the caller's own namespace.
 */
export function findDestinationRule(
  index: DestinationRuleIndex,
  mesh: MeshIndex,
  service: Service,
  namespace: string,
  labels: Labels,
): MergedRule | undefined {
  const defaults = mesh.config.defaultDestinationRuleExportTo ?? ['*'];
  for (const owner of new Set([namespace, service.namespace, mesh.rootNamespace])) {
    const rules = index.byNamespace.get(owner);
    if (rules === undefined) continue;
    const accept = (rule: MergedRule) => visibleIn(rule.from.spec.exportTo, defaults, owner, namespace);
    const own = owner === namespace ? labels : undefined;
    const exact = choose(rules.exact.get(service.hostname) ?? [], accept, own);
    if (exact !== undefined) return exact;
    const wild = choose(
      rules.wildcards.filter((rule) => hostWithin(service.hostname, rule.host)),
      accept,
      own,
    );
    if (wild !== undefined) return wild;
  }
  return undefined;
}

/** The blocks that are in force for one port. */
export type EffectivePolicy = PortPolicyBlocks &
  Pick<TrafficPolicy, 'tunnel' | 'proxyProtocol' | 'retryBudget'>;

function overlay(base: EffectivePolicy, policy: TrafficPolicy | undefined, port: number): EffectivePolicy {
  if (policy === undefined) return base;
  const { portLevelSettings = [], ...blocks } = policy;
  const out: EffectivePolicy = { ...base, ...blocks };
  const own = portLevelSettings.find((settings) => settings.port?.number === port);
  if (own === undefined) return out;
  // Blocks of a port do not inherit: what it leaves out takes its default.
  const { tunnel, proxyProtocol, retryBudget } = out;
  const { port: _, ...portBlocks } = own;
  return {
    ...(tunnel === undefined ? {} : { tunnel }),
    ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
    ...(retryBudget === undefined ? {} : { retryBudget }),
    ...portBlocks,
  };
}

/** The policy for a port of a service, or of one of its subsets. */
export function effectivePolicy(
  rule: MergedRule | undefined,
  subset: Subset | undefined,
  port: number,
): EffectivePolicy {
  return overlay(overlay({}, rule?.trafficPolicy, port), subset?.trafficPolicy, port);
}
