/**
 * Balances among the hosts whose metadata (`envoy.lb`) a route asks for (envoy.load_balancing_policies.subset, and the older
 * `lb_subset_config`). A selector is a set of keys; hosts with equal values under them are one subset, with a balancer of
 * its own that outlives updates.
 */
import { fromBinary } from '@bufbuild/protobuf';
import {
  SubsetSchema,
  type Subset,
  Subset_LbSubsetFallbackPolicy as FallbackPolicy,
  Subset_LbSubsetMetadataFallbackPolicy as MetadataFallback,
  Subset_LbSubsetSelector_LbSubsetSelectorFallbackPolicy as SelectorFallback,
} from '#api/gen/envoy/extensions/load_balancing_policies/subset/v3/subset_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type {
  HostSet,
  LoadBalancer,
  LoadBalancerOptions,
  LoadBalancingPolicyExtension,
} from '../../upstream/load_balancer.ts';
import type { Host, LoadBalancerContext } from '../../upstream/upstream.ts';
import { type HostFilter, filterSet } from './filter_set.ts';

/** Most subsets of one cluster. */
const maxSubsets = 10_000;

type Metadata = Readonly<Record<string, unknown>>;

interface Selector {
  /** Sorted. */
  readonly keys: readonly string[];
  readonly id: string;
  readonly singleHost: boolean;
  readonly fallback: SelectorFallback;
  readonly fallbackKeys: readonly string[];
}

interface Entry {
  readonly balancer: LoadBalancer;
  active: boolean;
}

/** One text per value, whatever the order of keys inside. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const object = value as Metadata;
  return `{${Object.keys(object)
    .toSorted()
    .map((key) => `${JSON.stringify(key)}:${canonical(object[key])}`)
    .join()}}`;
}

/** Text of the values that criteria or a host give to keys; undefined when one is missing. */
function valuesOf(keys: readonly string[], metadata: Metadata): string | undefined {
  let text = '';
  for (const key of keys) {
    const value = metadata[key];
    if (value === undefined) return undefined;
    text += `\n${canonical(value)}`;
  }
  return text;
}

/** The same for a host whose lists stand for each of their elements: all combinations, up to a bound. */
function valuesOfLists(keys: readonly string[], metadata: Metadata): string[] {
  let texts = [''];
  for (const key of keys) {
    const value = metadata[key];
    if (value === undefined) return [];
    const options = Array.isArray(value) ? value : [value];
    texts = texts.flatMap((text) => options.map((option) => `${text}\n${canonical(option)}`)).slice(0, 1000);
  }
  return texts;
}

class SubsetBalancer implements LoadBalancer {
  readonly #config: Subset;
  readonly #options: LoadBalancerOptions;
  readonly #selectors: ReadonlyMap<string, Selector>;
  readonly #default: Metadata;
  /** By selector and values. */
  #subsets = new Map<string, Entry>();
  readonly #any: LoadBalancer | undefined;
  readonly #defaultSubset: LoadBalancer | undefined;

  constructor(config: Subset, options: LoadBalancerOptions) {
    this.#config = config;
    this.#options = options;
    this.#default = config.defaultSubset ?? {};
    const selectors = config.subsetSelectors.map((selector): Selector => {
      const keys = [...new Set(selector.keys)].toSorted();
      const fallbackKeys = [...new Set(selector.fallbackKeysSubset)].toSorted();
      if (selector.fallbackPolicy === SelectorFallback.KEYS_SUBSET) {
        if (fallbackKeys.length === 0) throw new Error('subset: fallback_keys_subset cannot be empty');
        if (fallbackKeys.length >= keys.length || fallbackKeys.some((key) => !keys.includes(key)))
          throw new Error('subset: fallback_keys_subset must be a part of the selector keys, and not all');
      }
      return {
        keys,
        id: keys.join('\n'),
        singleHost: selector.singleHostPerSubset,
        fallback: selector.fallbackPolicy,
        fallbackKeys,
      };
    });
    this.#selectors = new Map(selectors.map((selector) => [selector.id, selector]));
    const fallbacks = new Set(selectors.map(({ fallback }) => fallback));
    const child = (): LoadBalancer => options.createChild(config.subsetLbPolicy);
    const wantsAny =
      config.fallbackPolicy === FallbackPolicy.ANY_ENDPOINT ||
      config.panicModeAny ||
      fallbacks.has(SelectorFallback.ANY_ENDPOINT);
    const wantsDefault =
      config.fallbackPolicy === FallbackPolicy.DEFAULT_SUBSET ||
      fallbacks.has(SelectorFallback.DEFAULT_SUBSET);
    this.#any = wantsAny ? child() : undefined;
    this.#defaultSubset = wantsDefault ? child() : undefined;
    // A bad child is found now, not with the first host.
    if (this.#any === undefined && this.#defaultSubset === undefined) child();
  }

  update(sets: readonly HostSet[]): void {
    const { localityWeightAware, scaleLocalityWeight } = this.#config;
    const filtered = (keep: HostFilter): HostSet[] =>
      sets.map((set) => filterSet(set, keep, localityWeightAware, scaleLocalityWeight));
    this.#any?.update(sets);
    if (this.#defaultSubset !== undefined) {
      const keys = Object.keys(this.#default);
      const wanted = valuesOf(keys, this.#default);
      this.#defaultSubset.update(filtered((host) => this.#valuesOf(host, keys).includes(wanted ?? '')));
    }
    const { stats } = this.#options;
    const before = this.#subsets;
    const next = new Map<string, Entry>();
    for (const [id, members] of this.#group(sets)) {
      let entry = before.get(id);
      if (entry === undefined) {
        entry = { balancer: this.#options.createChild(this.#config.subsetLbPolicy), active: false };
        stats.subsetsCreated++;
        stats.subsetsActive++;
      }
      entry.active = true;
      entry.balancer.update(filtered((host) => members.has(host)));
      next.set(id, entry);
    }
    for (const id of before.keys()) {
      if (next.has(id)) continue;
      stats.subsetsRemoved++;
      stats.subsetsActive--;
    }
    this.#subsets = next;
  }

  #valuesOf(host: Host, keys: readonly string[]): string[] {
    const metadata = host.metadata?.['envoy.lb'] ?? {};
    if (this.#config.listAsAny) return valuesOfLists(keys, metadata);
    const text = valuesOf(keys, metadata);
    return text === undefined ? [] : [text];
  }

  #group(sets: readonly HostSet[]): Map<string, Set<Host>> {
    const groups = new Map<string, Set<Host>>();
    for (const selector of this.#selectors.values())
      for (const set of sets)
        for (const host of set.hosts)
          for (const values of this.#valuesOf(host, selector.keys)) {
            const id = `${selector.id}\n=${values}`;
            const members = groups.get(id);
            if (members !== undefined) {
              if (!selector.singleHost) members.add(host);
            } else if (groups.size < maxSubsets) groups.set(id, new Set([host]));
          }
    return groups;
  }

  chooseHost(context: LoadBalancerContext): Host | undefined {
    const criteria = context.metadataMatch;
    const list =
      this.#config.metadataFallbackPolicy === MetadataFallback.FALLBACK_LIST
        ? criteria?.['fallback_list']
        : undefined;
    if (criteria === undefined || !Array.isArray(list)) return this.#choose(context, criteria);
    const { fallback_list: _, ...own } = criteria;
    for (const other of list) {
      const merged = typeof other === 'object' && other !== null ? { ...own, ...other } : own;
      const host = this.#choose(context, merged);
      if (host !== undefined) return host;
    }
    return undefined;
  }

  #choose(context: LoadBalancerContext, criteria: Metadata | undefined): Host | undefined {
    const { stats } = this.#options;
    if (criteria !== undefined) {
      const keys = Object.keys(criteria).toSorted();
      const id = keys.join('\n');
      const selector = this.#selectors.get(id);
      if (selector !== undefined) {
        const entry = this.#subsets.get(`${id}\n=${valuesOf(keys, criteria) ?? ''}`);
        if (entry !== undefined) {
          stats.subsetsSelected++;
          return entry.balancer.chooseHost(context);
        }
        switch (selector.fallback) {
          case SelectorFallback.NO_FALLBACK:
            return undefined;
          case SelectorFallback.ANY_ENDPOINT:
            return this.#any?.chooseHost(context);
          case SelectorFallback.DEFAULT_SUBSET:
            return this.#defaultSubset?.chooseHost(context);
          case SelectorFallback.KEYS_SUBSET:
            return this.#choose(
              context,
              Object.fromEntries(selector.fallbackKeys.map((key) => [key, criteria[key]])),
            );
        }
      }
    }
    const { fallbackPolicy } = this.#config;
    if (fallbackPolicy === FallbackPolicy.NO_FALLBACK && !this.#config.panicModeAny) return undefined;
    const fallback =
      fallbackPolicy === FallbackPolicy.ANY_ENDPOINT
        ? this.#any
        : fallbackPolicy === FallbackPolicy.DEFAULT_SUBSET
          ? this.#defaultSubset
          : undefined;
    const host = fallback?.chooseHost(context);
    if (host !== undefined) {
      stats.subsetsFallback++;
      return host;
    }
    if (!this.#config.panicModeAny) return undefined;
    const last = this.#any?.chooseHost(context);
    if (last !== undefined) stats.subsetsFallbackPanic++;
    return last;
  }
}

export const subset = {
  name: 'envoy.load_balancing_policies.subset',
  typeUrls: [typeUrlOf(SubsetSchema)],
  create(config, options) {
    const proto = fromBinary(SubsetSchema, config.value);
    if (proto.allowRedundantKeys) throw new Error('subset: allow_redundant_keys is not implemented');
    return new SubsetBalancer(proto, options);
  },
} satisfies LoadBalancingPolicyExtension;
