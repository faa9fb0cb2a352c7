/** `envoy.config.route.v3.WeightedCluster`: which of several clusters a request goes to. */
import type {
  WeightedCluster,
  WeightedCluster_ClusterWeight,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { RequestHeaderMap } from '../http/header_map.ts';
import type { RouteEntry } from './route_entry.ts';

export interface WeightedChoice {
  readonly entries: readonly { readonly entry: RouteEntry; readonly weight: number }[];
  /** @param random in [0, 1), used unless a header gives the value. */
  choose(headers: RequestHeaderMap, random: number): RouteEntry;
}

/** Throws Error when no cluster has a weight. */
export function compileWeighted(
  proto: WeightedCluster,
  makeEntry: (cluster: WeightedCluster_ClusterWeight) => RouteEntry,
): WeightedChoice {
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
  return {
    entries,
    choose(headers, random) {
      const named = header === undefined ? undefined : headers.get(header);
      let value =
        named !== undefined && /^\d{1,15}$/.test(named) ? Number(named) % total : Math.floor(random * total);
      for (const { entry, weight } of entries) {
        if (value < weight) return entry;
        value -= weight;
      }
      return (entries[entries.length - 1] as (typeof entries)[number]).entry;
    },
  };
}
