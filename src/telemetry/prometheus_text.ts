/** Prometheus text exposition format 0.0.4 of a metrics snapshot. */
import { TimeSlice } from '#base/time_slice.ts';
import type { Labels, MetricsSnapshot } from './metrics.ts';

/** Content type of the page. */
export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8';

function escapeValue(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
    : value;
}

/** Names with other characters make Prometheus refuse the whole page; Envoy writes `_` in their place. */
function metricName(name: string): string {
  return /[^a-zA-Z0-9_:]/.test(name) ? name.replaceAll(/[^a-zA-Z0-9_:]/g, '_') : name;
}

function formatLabels(labels: Labels, extra = ''): string {
  let text = '';
  for (const name in labels) text += `${text === '' ? '' : ','}${name}="${escapeValue(labels[name] ?? '')}"`;
  if (extra !== '') text += `${text === '' ? '' : ','}${extra}`;
  return text === '' ? '' : `{${text}}`;
}

/** Series in a chunk: the work between two chunks is a fraction of a millisecond. */
const seriesPerChunk = 64;

/** Renders all families a piece at a time; histograms get cumulative `_bucket`, `_sum` and `_count` lines. */
function* prometheusChunks(snapshot: MetricsSnapshot): Generator<string, void> {
  let text = '';
  let series = 0;
  for (const family of snapshot) {
    if (family.series.length === 0) continue;
    const name = metricName(family.name);
    if (family.help !== '')
      text += `# HELP ${name} ${family.help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}\n`;
    text += `# TYPE ${name} ${family.type}\n`;
    for (const { labels, value, buckets } of family.series) {
      if (buckets === undefined) text += `${name}${formatLabels(labels)} ${value}\n`;
      else text += formatHistogram(name, family.bounds ?? [], labels, value, buckets);
      if (++series % seriesPerChunk !== 0) continue;
      yield text;
      text = '';
    }
  }
  if (text !== '') yield text;
}

function formatHistogram(
  name: string,
  bounds: readonly number[],
  labels: Labels,
  sum: number,
  buckets: readonly number[],
): string {
  let text = '';
  let count = 0;
  for (let i = 0; i < buckets.length; i++) {
    count += buckets[i] ?? 0;
    const le = i < bounds.length ? String(bounds[i]) : '+Inf';
    text += `${name}_bucket${formatLabels(labels, `le="${le}"`)} ${count}\n`;
  }
  return `${text}${name}_sum${formatLabels(labels)} ${sum}\n${name}_count${formatLabels(labels)} ${count}\n`;
}

/** The whole page at one go. */
export function toPrometheusText(snapshot: MetricsSnapshot): string {
  return [...prometheusChunks(snapshot)].join('');
}

/**
 * The whole page; requests that are served on the same thread have their turn meanwhile: with the clusters of a large mesh it
 * takes milliseconds.
 */
export async function toPrometheusTextInSlices(snapshot: MetricsSnapshot): Promise<string> {
  const slice = new TimeSlice();
  const chunks: string[] = [];
  for (const chunk of prometheusChunks(snapshot)) {
    chunks.push(chunk);
    if (slice.over) await slice.pause();
  }
  return chunks.join('');
}
