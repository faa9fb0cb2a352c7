/** `envoy.config.route.v3.WeightedCluster`: which of several clusters a request goes to. */
import type {
  WeightedCluster,
  WeightedCluster_ClusterWeight,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { RequestHeaderMap } from '../http/header_map.ts';
import type { RuntimeValues } from '../network/runtime.ts';
import type { RouteEntry } from './route_entry.ts';
import { refuseFields } from '../network/refused_fields.ts';

export interface WeightedChoice {
  readonly entries: readonly { readonly entry: RouteEntry; readonly weight: number }[];
  /** @param random in [0, 1), used unless a header gives the value. */
  choose(headers: RequestHeaderMap, random: number): RouteEntry;
}

/**
 * Throws Error when no cluster has a weight.
 * @param runtime values that stand in place of the weights (`runtime_key_prefix.cluster`)
 */
export function compileWeighted(
  proto: WeightedCluster,
  makeEntry: (cluster: WeightedCluster_ClusterWeight) => RouteEntry,
  runtime?: RuntimeValues,
): WeightedChoice {
  refuseFields(proto, 'weighted_clusters.');
  const entries = proto.clusters.map((cluster) => ({
    entry: makeEntry(cluster),
    weight: cluster.weight ?? 0,
  }));
  const total = entries.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) throw new Error('sum of weights in weighted_clusters must be above 0');
  if (total > 0xffff_ffff) throw new Error('sum of weights in weighted_clusters is above 2^32-1');
  const header =
    proto.randomValueSpecifier.case === 'headerName'
      ? proto.randomValueSpecifier.value.toLowerCase()
      : undefined;
  const weigh = runtimeWeights(proto, runtime);
  return {
    entries,
    choose(headers, random) {
      const named = header === undefined ? undefined : headers.get(header);
      const weights = weigh?.();
      const sum = weights === undefined ? total : weights.reduce((all, weight) => all + weight, 0);
      let value =
        named !== undefined && /^\d{1,15}$/.test(named) ? Number(named) % sum : Math.floor(random * sum);
      for (let i = 0; i < entries.length; i++) {
        const { entry, weight: own } = entries[i] as (typeof entries)[number];
        const weight = weights === undefined ? own : (weights[i] as number);
        if (value < weight) return entry;
        value -= weight;
      }
      return (entries[entries.length - 1] as (typeof entries)[number]).entry;
    },
  };
}

/** Weights as the runtime has them now; undefined when no key can change them. */
function runtimeWeights(
  proto: WeightedCluster,
  runtime: RuntimeValues | undefined,
): (() => number[]) | undefined {
  const prefix = proto.runtimeKeyPrefix;
  if (prefix === '' || runtime === undefined) return undefined;
  return () =>
    proto.clusters.map(({ name, weight }) => {
      const value = runtime.number(`${prefix}.${name}`, weight ?? 0);
      return value >= 0 ? Math.min(Math.floor(value), 0xffff_ffff) : (weight ?? 0);
    });
}
