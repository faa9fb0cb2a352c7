/** `/stats` in text, JSON and Prometheus form, `/stats/prometheus` and `/reset_counters`. */
import type { FamilySnapshot, MetricsSnapshot, SeriesSnapshot } from '#telemetry/metrics.ts';
import { prometheusContentType, toPrometheusTextInSlices } from '#telemetry/prometheus_text.ts';
import {
  type AdminPage,
  type AdminReply,
  type AdminRequest,
  compactJson,
  html,
  regexParameter,
  text,
} from './page.ts';
import type { ProxyState } from './proxy_state.ts';
import { dottedName } from './stat_names.ts';
import { withTagNames } from './stat_tags.ts';
import {
  type Distribution,
  bucketJson,
  bucketText,
  detailJson,
  detailText,
  quantileJson,
  quantiles,
  summaryText,
} from './stat_values.ts';

type StatType = 'All' | 'Counters' | 'Gauges' | 'Histograms' | 'TextReadouts';
type BucketMode = 'cumulative' | 'disjoint' | 'detailed' | 'summary';

const statTypes: ReadonlySet<string> = new Set(['All', 'Counters', 'Gauges', 'Histograms', 'TextReadouts']);
const bucketModes: ReadonlySet<string> = new Set(['cumulative', 'disjoint', 'detailed', 'summary']);
const formats: ReadonlySet<string> = new Set(['html', 'active-html', 'json', 'prometheus', 'text']);

/** What a request wants to see. */
interface StatsQuery {
  readonly type: StatType;
  readonly buckets: BucketMode;
  readonly format: string;
  wants(family: FamilySnapshot, series: SeriesSnapshot): boolean;
}

function isUsed({ value, buckets }: SeriesSnapshot): boolean {
  return value !== 0 || (buckets?.some((count) => count > 0) ?? false);
}

/** @returns the reply that says what is wrong. */
function readQuery(query: URLSearchParams, format: string): StatsQuery | AdminReply {
  const type = query.get('type') ?? 'All';
  if (!statTypes.has(type)) return text('invalid &type= param', 400);
  const buckets = query.get('histogram_buckets') ?? (format === 'prometheus' ? 'cumulative' : 'summary');
  if (!bucketModes.has(buckets))
    return text('usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)\n', 400);
  const filter = regexParameter(query, 'filter');
  if (filter !== undefined && 'bad' in filter) return text(`Invalid re2 regex: ${filter.bad}\n`, 400);
  const usedOnly = query.has('usedonly');
  const found = !query.has('invert_filter');
  return {
    type: type as StatType,
    buckets: buckets as BucketMode,
    format,
    wants: (family, series) =>
      (!usedOnly || isUsed(series)) &&
      (filter === undefined || filter.find(dottedName(family.name, series.labels)) === found) &&
      isOfType(type as StatType, family),
  };
}

function isOfType(type: StatType, { type: own }: FamilySnapshot): boolean {
  switch (type) {
    case 'All':
      return true;
    case 'Counters':
      return own === 'counter';
    case 'Gauges':
      return own === 'gauge';
    case 'Histograms':
      return own === 'histogram';
    case 'TextReadouts':
      return false;
  }
}

interface Shown {
  readonly values: { readonly name: string; readonly value: number }[];
  readonly histograms: { readonly name: string; readonly distribution: Distribution }[];
}

function collect(snapshot: MetricsSnapshot, query: StatsQuery): Shown {
  const shown: Shown = { values: [], histograms: [] };
  for (const family of snapshot) {
    for (const series of family.series) {
      if (!query.wants(family, series)) continue;
      const name = dottedName(family.name, series.labels);
      if (series.buckets === undefined) shown.values.push({ name, value: series.value });
      else
        shown.histograms.push({
          name,
          distribution: { bounds: family.bounds ?? [], counts: series.buckets },
        });
    }
  }
  const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
    a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  shown.values.sort(byName);
  shown.histograms.sort(byName);
  return shown;
}

function histogramLine(mode: BucketMode, name: string, distribution: Distribution): string {
  switch (mode) {
    case 'summary':
      return `${name}: ${summaryText(distribution)}\n`;
    case 'detailed':
      return `${name}:${detailText(distribution)}\n`;
    default:
      return `${name}: ${bucketText(distribution, mode === 'cumulative')}\n`;
  }
}

function asText({ values, histograms }: Shown, mode: BucketMode): string {
  const lines = values.map(({ name, value }) => `${name}: ${value}\n`);
  for (const { name, distribution } of histograms) lines.push(histogramLine(mode, name, distribution));
  return lines.join('');
}

function asJson({ values, histograms }: Shown, mode: BucketMode): AdminReply {
  const all = <T>(make: (name: string, distribution: Distribution) => T): T[] =>
    histograms.map(({ name, distribution }) => make(name, distribution));
  const shownHistograms =
    mode === 'summary'
      ? { supported_quantiles: quantiles, computed_quantiles: all(quantileJson) }
      : mode === 'detailed'
        ? { supported_percentiles: quantiles, details: all(detailJson) }
        : all((name, distribution) => bucketJson(name, distribution, mode === 'cumulative'));
  return compactJson({
    stats: [...values, ...(histograms.length === 0 ? [] : [{ histograms: shownHistograms }])],
  });
}

async function prometheus(
  snapshot: MetricsSnapshot,
  query: StatsQuery,
  state: ProxyState,
): Promise<AdminReply> {
  const shown = snapshot.map((family) => ({
    ...family,
    series: family.series.filter((series) => query.wants(family, series)),
  }));
  const named = withTagNames(shown, state.bootstrap.statsConfig);
  return { status: 200, contentType: prometheusContentType, body: await toPrometheusTextInSlices(named) };
}

function escape(line: string): string {
  return line.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

async function answer(
  state: ProxyState,
  { query }: AdminRequest,
  format = query.get('format') ?? 'text',
): Promise<AdminReply> {
  if (!formats.has(format))
    return text('usage: /stats?format=(html|active-html|json|prometheus|text)\n\n', 400);
  const wanted = readQuery(query, format);
  if ('status' in wanted) return wanted;
  if (format === 'prometheus' && wanted.buckets !== 'cumulative')
    return text(`histogram_buckets=${wanted.buckets} is not supported for prometheus\n`, 400);
  const snapshot = await state.metrics();
  if (format === 'prometheus') return prometheus(snapshot, wanted, state);
  const shown = collect(snapshot, wanted);
  if (format === 'json') return asJson(shown, wanted.buckets);
  const body = asText(shown, wanted.buckets);
  return format === 'text' ? text(body) : html(`<!DOCTYPE html>\n<pre>\n${escape(body)}</pre>\n`);
}

const shared = [
  { name: 'usedonly', help: 'Only include stats that have been written by system since restart' },
  { name: 'filter', help: 'Regular expression (Google re2) for filtering stats' },
  { name: 'invert_filter', help: 'Invert the filter regex' },
];

export const stats: AdminPage = {
  path: '/stats',
  help: 'print server stats',
  changes: false,
  parameters: [
    ...shared,
    { name: 'format', help: 'Format to use; One of (html, active-html, text, json, prometheus)' },
    {
      name: 'type',
      help: 'Stat types to include.; One of (All, Counters, Histograms, Gauges, TextReadouts)',
    },
    {
      name: 'histogram_buckets',
      help: 'Histogram bucket display mode; One of (cumulative, disjoint, detailed, summary)',
    },
  ],
  answer: (state, request) => answer(state, request),
};

export const statsPrometheus: AdminPage = {
  path: '/stats/prometheus',
  help: 'print server stats in prometheus format',
  changes: false,
  parameters: shared,
  answer: (state, request) => answer(state, request, 'prometheus'),
};

export const resetCounters: AdminPage = {
  path: '/reset_counters',
  help: 'reset all counters to zero',
  changes: true,
  async answer(state) {
    await state.resetCounters();
    return text('OK\n');
  },
};
