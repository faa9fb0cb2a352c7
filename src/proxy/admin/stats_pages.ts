/** `/stats` in text, JSON and Prometheus form, and `/stats/prometheus`. */
import type { MetricsSnapshot } from '#telemetry/metrics.ts';
import { prometheusContentType, toPrometheusTextInSlices } from '#telemetry/prometheus_text.ts';
import { compileRegex } from '../http/regex.ts';
import { type AdminPage, type AdminReply, type AdminRequest, json, text } from './page.ts';
import type { ProxyState } from './proxy_state.ts';
import { dottedName } from './stat_names.ts';

function lines(snapshot: MetricsSnapshot, wanted: (name: string) => boolean): [string, string][] {
  const found: [string, string][] = [];
  for (const family of snapshot) {
    for (const series of family.series) {
      const name = dottedName(family.name, series.labels);
      if (!wanted(name)) continue;
      const count = series.buckets?.reduce((sum, bucket) => sum + bucket, 0);
      found.push([name, count === undefined ? String(series.value) : `count(${count}) sum(${series.value})`]);
    }
  }
  return found.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

async function prometheus(snapshot: MetricsSnapshot, usedOnly: boolean): Promise<AdminReply> {
  const shown = usedOnly
    ? snapshot.map((family) => ({
        ...family,
        series: family.series.filter(
          ({ value, buckets }) => value !== 0 || (buckets?.some((count) => count > 0) ?? false),
        ),
      }))
    : snapshot;
  return { status: 200, contentType: prometheusContentType, body: await toPrometheusTextInSlices(shown) };
}

async function answer(state: ProxyState, { query }: AdminRequest): Promise<AdminReply> {
  const snapshot = await state.metrics();
  const usedOnly = query.has('usedonly');
  if (query.get('format') === 'prometheus') return prometheus(snapshot, usedOnly);
  const filter = query.get('filter');
  let matches = (_name: string): boolean => true;
  if (filter !== null) {
    try {
      const regex = compileRegex(filter);
      matches = (name) => regex.find(name);
    } catch (error) {
      return text(`Invalid re2 regex: ${(error as Error).message}\n`, 400);
    }
  }
  const shown = lines(snapshot, matches).filter(([, value]) => !usedOnly || value !== '0');
  if (query.get('format') === 'json')
    return json({
      stats: shown.map(([name, value]) => ({ name, value: /^\d/.test(value) ? Number(value) : value })),
    });
  return text(shown.map(([name, value]) => `${name}: ${value}\n`).join(''));
}

export const stats: AdminPage = { path: '/stats', help: 'print server stats', changes: false, answer };

export const statsPrometheus: AdminPage = {
  path: '/stats/prometheus',
  help: 'print server stats in prometheus format',
  changes: false,
  async answer(state, { query }) {
    return prometheus(await state.metrics(), query.has('usedonly'));
  },
};
