/** Names of metrics as Envoy's `/stats` writes them, with the labels inside. */
import type { Labels } from '#telemetry/metrics.ts';

/** Labels that Envoy writes into the middle of a name, behind its first part. */
const nameLabels = ['cluster_name', 'listener_address', 'envoy_http_conn_manager_prefix'] as const;

/** `envoy_cluster_upstream_rq_total{cluster_name="x"}` as `cluster.x.upstream_rq_total`. */
export function dottedName(name: string, labels: Labels): string {
  if (!name.startsWith('envoy_')) {
    let text = name;
    for (const label in labels) text += `.${label}.${labels[label]}`;
    return text;
  }
  const plain = name.slice('envoy_'.length);
  const first = plain.indexOf('_');
  for (const label of nameLabels) {
    const value = labels[label];
    if (value !== undefined) return `${plain.slice(0, first)}.${value}.${plain.slice(first + 1)}`;
  }
  for (const part of parts)
    if (plain.startsWith(`${part}_`)) return `${part}.${plain.slice(part.length + 1)}`;
  return plain.replace('_', '.');
}

/** First parts of names that hold an underscore themselves. */
const parts = ['cluster_manager', 'listener_manager'] as const;
