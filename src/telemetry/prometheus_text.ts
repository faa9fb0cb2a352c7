/** Prometheus text exposition format 0.0.4 of a metrics snapshot. */
import type { Labels, MetricsSnapshot } from './metrics.ts';

/** Content type of the page. */
export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8';

function escapeValue(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
    : value;
}

function formatLabels(labels: Labels, extra = ''): string {
  let text = '';
  for (const name in labels) text += `${text === '' ? '' : ','}${name}="${escapeValue(labels[name] ?? '')}"`;
  if (extra !== '') text += `${text === '' ? '' : ','}${extra}`;
  return text === '' ? '' : `{${text}}`;
}

/** Renders all families; histograms get cumulative `_bucket`, `_sum` and `_count` lines. */
export function toPrometheusText(snapshot: MetricsSnapshot): string {
  const lines: string[] = [];
  for (const family of snapshot) {
    if (family.series.length === 0) continue;
    if (family.help !== '')
      lines.push(`# HELP ${family.name} ${family.help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}`);
    lines.push(`# TYPE ${family.name} ${family.type}`);
    for (const { labels, value, buckets } of family.series) {
      if (buckets === undefined) {
        lines.push(`${family.name}${formatLabels(labels)} ${value}`);
        continue;
      }
      const bounds = family.bounds ?? [];
      let count = 0;
      for (let i = 0; i < buckets.length; i++) {
        count += buckets[i] ?? 0;
        const le = i < bounds.length ? String(bounds[i]) : '+Inf';
        lines.push(`${family.name}_bucket${formatLabels(labels, `le="${le}"`)} ${count}`);
      }
      lines.push(`${family.name}_sum${formatLabels(labels)} ${value}`);
      lines.push(`${family.name}_count${formatLabels(labels)} ${count}`);
    }
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}
