/**
 * Names of labels on `/stats/prometheus`: those of Envoy's default tags, or those of `stats_config.stats_tags` where it
 * names a tag as Istio does (`cluster_name` in place of `envoy_cluster_name`). The expressions of the tags are not run:
 * labels are known where a metric is made.
 */
import type { StatsConfig } from '#api/gen/envoy/config/metrics/v3/stats_pb.ts';
import type { FamilySnapshot, Labels, MetricsSnapshot, SeriesSnapshot } from '#telemetry/metrics.ts';

/** Our label, Envoy's default tag, the name in Istio's bootstrap. */
const tags = [
  ['cluster_name', 'envoy_cluster_name', 'cluster_name'],
  ['listener_address', 'envoy_listener_address', 'listener_address'],
  ['tcp_prefix', 'envoy_tcp_prefix', 'tcp_prefix'],
  ['envoy_http_conn_manager_prefix', 'envoy_http_conn_manager_prefix', 'http_conn_manager_prefix'],
  ['envoy_response_code', 'envoy_response_code', 'response_code'],
  ['envoy_response_code_class', 'envoy_response_code_class', 'response_code_class'],
] as const;

/** @returns the snapshot with labels (and with them names of families) as the configuration asks for. */
export function withTagNames(snapshot: MetricsSnapshot, config: StatsConfig | undefined): MetricsSnapshot {
  const asked = new Set(config?.statsTags.map(({ tagName }) => tagName));
  const names = new Map<string, string>(
    tags.map(([own, envoy, istio]) => [own, asked.has(istio) ? istio : envoy]),
  );
  const wholeClass = asked.has('response_code_class');
  const families = new Map<string, FamilySnapshot & { readonly series: SeriesSnapshot[] }>();
  for (const family of snapshot) {
    const isEnvoys = family.name.startsWith('envoy_');
    // Istio's tag takes the class with its `xx`: the rest of the name is that of the single codes.
    const name = wholeClass && isEnvoys ? family.name.replace(/_rq_xx$/, '_rq') : family.name;
    const series = isEnvoys
      ? family.series.map((one) => ({ ...one, labels: rename(one.labels, names, wholeClass) }))
      : family.series;
    const same = families.get(name);
    if (same === undefined) families.set(name, { ...family, name, series: [...series] });
    else same.series.push(...series);
  }
  return [...families.values()];
}

function rename(labels: Labels, names: ReadonlyMap<string, string>, wholeClass: boolean): Labels {
  const renamed: Record<string, string> = {};
  for (const label in labels) {
    const value = labels[label] ?? '';
    const isClass = label === 'envoy_response_code_class';
    renamed[names.get(label) ?? label] = isClass && wholeClass ? `${value}xx` : value;
  }
  return renamed;
}
