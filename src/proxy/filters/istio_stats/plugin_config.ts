/** `stats.PluginConfig` of Istio: which metrics are off, which labels are gone or have other values. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Labels } from '#telemetry/metrics.ts';
import { type MetricName, metricNames } from './labels.ts';

/** Inner type URL of the configuration. */
export const statsPluginType = 'type.googleapis.com/stats.PluginConfig';

/** How one metric is printed. */
export interface MetricPlan {
  readonly dropped: boolean;
  readonly removed: ReadonlySet<string>;
  /** Labels with fixed values; they replace standard ones of the name. */
  readonly fixed: ReadonlyMap<string, string>;
}

export interface StatsConfig {
  readonly plans: Readonly<Record<MetricName, MetricPlan>>;
  /** Do not take the service from the Host header when the cluster does not name one. Default false. */
  readonly disableHostHeaderFallback: boolean;
  /** How often open TCP connections are counted, milliseconds. Default 15 000. */
  readonly tcpReportingMs: number;
  /** Parts of the configuration that have no effect, each with its place and why. */
  readonly ignored: readonly string[];
}

const defaultTcpReportingMs = 15_000;
const minTcpReportingMs = 1000;

function objectOf(value: JsonValue | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}

/** A field by its proto name, or by its JSON name. */
function field(from: JsonObject, name: string): JsonValue | undefined {
  return from[name] ?? from[name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())];
}

function list(from: JsonObject, name: string): readonly JsonValue[] {
  const value = field(from, name) ?? [];
  if (!Array.isArray(value)) throw new Error(`${name}: expected a list`);
  return value;
}

/** Value of an expression that does not depend on requests: a literal, or a field of the node; undefined for others. */
export function constantOf(expression: string, node: Node): string | undefined {
  const text = expression.trim();
  const literal = /^(?:"([^"\\]*)"|'([^'\\]*)')$/.exec(text);
  if (literal !== null) return literal[1] ?? literal[2];
  if (text === 'node.id') return node.id;
  if (text === 'node.cluster') return node.cluster;
  const path = /^node\.metadata((?:\.[A-Za-z_]\w*|\[(?:"[^"\\]*"|'[^'\\]*')\])+)$/.exec(text)?.[1];
  if (path === undefined) return undefined;
  let value: JsonValue | undefined = node.metadata ?? {};
  for (const [, name, double, single] of path.matchAll(/\.(\w+)|\["([^"]*)"\]|\['([^']*)'\]/g))
    value = objectOf(value)?.[name ?? double ?? single ?? ''];
  return typeof value === 'string' ? value : undefined;
}

interface Draft {
  dropped: boolean;
  readonly removed: Set<string>;
  readonly fixed: Map<string, string>;
}

function applyMetric(
  metric: JsonObject,
  where: string,
  drafts: readonly Draft[],
  node: Node,
  ignored: string[],
): void {
  const match = field(metric, 'match');
  if (typeof match === 'string' && match !== '') {
    ignored.push(`${where}.match: CEL expressions are not supported`);
    return;
  }
  const dimensions = Object.entries(objectOf(field(metric, 'dimensions')) ?? {});
  const values = dimensions.flatMap(([label, expression]) => {
    const value = typeof expression === 'string' ? constantOf(expression, node) : undefined;
    if (value === undefined)
      ignored.push(`${where}.dimensions.${label}: CEL expressions are not supported, only constants`);
    return value === undefined ? [] : [[label, value] as const];
  });
  for (const draft of drafts) {
    if (field(metric, 'drop') === true) draft.dropped = true;
    for (const label of list(metric, 'tags_to_remove'))
      if (typeof label === 'string') draft.removed.add(label);
    for (const [label, value] of values) {
      draft.fixed.set(label, value);
      draft.removed.delete(label);
    }
  }
}

function durationOf(value: JsonValue | undefined): number {
  if (value === undefined) return defaultTcpReportingMs;
  const match = typeof value === 'string' ? /^(\d{1,9}(?:\.\d{1,9})?)s$/.exec(value) : null;
  if (match === null) throw new Error('tcp_reporting_duration: expected a duration such as 15s');
  return Math.max(Number(match[1]) * 1000, minTcpReportingMs);
}

/** Throws Error for a field of the wrong type; what cannot be done is listed in `ignored`. */
export function readStatsConfig(config: JsonObject, node: Node): StatsConfig {
  const ignored: string[] = [];
  const drafts = Object.fromEntries(
    metricNames.map((name) => [name, { dropped: false, removed: new Set(), fixed: new Map() }]),
  ) as unknown as Record<MetricName, Draft>;
  for (const [i, item] of list(config, 'metrics').entries()) {
    const where = `metrics[${i}]`;
    const metric = objectOf(item);
    if (metric === undefined) throw new Error(`${where}: expected an object`);
    const given = field(metric, 'name') ?? '';
    const name = typeof given === 'string' ? given.replace(/^istio_/, '') : '';
    const chosen = name === '' ? metricNames : metricNames.filter((known) => known === name);
    if (chosen.length === 0) ignored.push(`${where}.name: there is no metric ${name}`);
    applyMetric(
      metric,
      where,
      chosen.map((known) => drafts[known]),
      node,
      ignored,
    );
  }
  if (list(config, 'definitions').length > 0)
    ignored.push('definitions: metrics of your own are not supported');
  return {
    plans: drafts,
    disableHostHeaderFallback: field(config, 'disable_host_header_fallback') === true,
    tcpReportingMs: durationOf(field(config, 'tcp_reporting_duration')),
    ignored,
  };
}

/** Labels of one series after the plan of its metric. */
export function planLabels(plan: MetricPlan, names: readonly string[], values: readonly string[]): Labels {
  const labels: Record<string, string> = {};
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (!plan.removed.has(name)) labels[name] = plan.fixed.get(name) ?? (values[i] as string);
  }
  for (const [name, value] of plan.fixed) labels[name] ??= value;
  return labels;
}
