/** Names of metrics as Envoy's `/stats` writes them, with the labels inside. */
import type { Labels } from '#telemetry/metrics.ts';

/** Labels that Envoy writes into the middle of a name, behind its first part. */
const nameLabels = [
  'cluster_name',
  'listener_address',
  'envoy_http_conn_manager_prefix',
  'tcp_prefix',
] as const;

/** `envoy_cluster_upstream_rq_total{cluster_name="x"}` as `cluster.x.upstream_rq_total`. */
export function dottedName(name: string, labels: Labels): string {
  for (const [label, place] of ownPrefixes) {
    const value = labels[label];
    if (value === undefined || !name.startsWith(`envoy_${place.metric}_`)) continue;
    const rest = withRbacLabels(name.slice(`envoy_${place.metric}_`.length), labels);
    return place.first ? `${value}.${place.metric}.${rest}` : `${place.metric}.${value}.${rest}`;
  }
  if (!name.startsWith('envoy_')) {
    let text = name;
    for (const label in labels) text += `.${label}.${labels[label]}`;
    return text;
  }
  const plain = name.slice('envoy_'.length);
  const first = plain.indexOf('_');
  for (const label of nameLabels) {
    const value = labels[label];
    if (value !== undefined)
      return `${plain.slice(0, first)}.${value}.${withFilter(withCode(plain.slice(first + 1), labels), labels)}`;
  }
  for (const tracer of tracers)
    if (plain.startsWith(`tracing_${tracer}_`))
      return `tracing.${tracer}.${plain.slice(`tracing_${tracer}_`.length)}`;
  for (const logger of logServices)
    if (plain.startsWith(`access_logs_${logger}_`))
      return `access_logs.${logger}.${plain.slice(`access_logs_${logger}_`.length)}`;
  const session = withSession(plain);
  if (session !== undefined) return session;
  for (const part of parts)
    if (plain.startsWith(`${part}_`)) return `${part}.${plain.slice(part.length + 1)}`;
  return plain.replace('_', '.');
}

/** Filters whose own prefix is a label: where it stands in the name. */
const ownPrefixes: readonly (readonly [label: string, { metric: string; first: boolean }])[] = [
  ['envoy_local_http_ratelimit_prefix', { metric: 'http_local_rate_limit', first: true }],
  ['envoy_local_network_ratelimit_prefix', { metric: 'local_rate_limit', first: false }],
  ['envoy_connection_limit_prefix', { metric: 'connection_limit', first: false }],
  ['envoy_ext_authz_prefix', { metric: 'ext_authz', first: false }],
  ['envoy_rbac_prefix', { metric: 'rbac', first: true }],
];

/** Filters that have a level of their own in names of the connection manager and of clusters. */
const filterNames = [
  'ssl',
  'ext_authz',
  'ratelimit',
  'csrf',
  'cors',
  'fault',
  'jwt_authn',
  'tracing',
] as const;

/** Levels inside the names of clusters. */
const clusterLevels: readonly (readonly [part: string, level: string])[] = [
  ['circuit_breakers_default_', 'circuit_breakers.default.'],
  ['circuit_breakers_high_', 'circuit_breakers.high.'],
  ['outlier_detection_', 'outlier_detection.'],
  ['health_check_', 'health_check.'],
  ['external_upstream_', 'external.upstream_'],
  ['internal_upstream_', 'internal.upstream_'],
  ['canary_upstream_', 'canary.upstream_'],
  ['retry_upstream_', 'retry.upstream_'],
];

/** Counters of RBAC: `PREFIX.policy.NAME.allowed`. */
function withRbacLabels(rest: string, labels: Labels): string {
  const policy = labels['envoy_rbac_policy_name'];
  const named = policy === undefined ? rest : rest.replace(/^policy_/, `policy.${policy}.`);
  const shadow = labels['envoy_rbac_shadow_prefix'];
  return shadow === undefined ? named : `${shadow}.${named}`;
}

/** Status or class of status, which are labels, back in their place. */
function withCode(rest: string, labels: Labels): string {
  const code = labels['envoy_response_code'];
  if (code !== undefined) return `${rest}_${code}`;
  const digit = labels['envoy_response_code_class'];
  return digit === undefined ? rest : `${rest.slice(0, -'xx'.length)}${digit}xx`;
}

function withFilter(rest: string, labels: Labels): string {
  if (rest.startsWith('rbac_')) {
    const own = labels['envoy_rbac_http_prefix'];
    return `rbac.${own === undefined ? '' : `${own}.`}${withRbacLabels(rest.slice('rbac_'.length), labels)}`;
  }
  if (rest.startsWith('compressor_')) {
    const own = rest.slice('compressor_'.length).replace(/^response_/, 'response.');
    return `compressor.${labels['envoy_compressor_library'] ?? ''}.${own}`;
  }
  const session = withSession(rest);
  if (session !== undefined) return session;
  for (const filter of filterNames) {
    if (!rest.startsWith(`${filter}_`)) continue;
    const own = labels[`envoy_${filter}_prefix`];
    return `${filter}.${own === undefined ? '' : `${own}.`}${rest.slice(filter.length + 1)}`;
  }
  for (const [part, level] of clusterLevels)
    if (rest.startsWith(part)) return `${level}${rest.slice(part.length)}`;
  return rest;
}

const sessionCounters = ['routed', 'failed_open', 'failed_closed', 'no_session'] as const;

/** Counters of sticky sessions: `stateful_session.PREFIX.routed`. Undefined for other names. */
function withSession(rest: string): string | undefined {
  if (!rest.startsWith('stateful_session_')) return undefined;
  const counter = sessionCounters.find((name) => rest.endsWith(`_${name}`));
  if (counter === undefined) return undefined;
  return `stateful_session.${rest.slice('stateful_session_'.length, -counter.length - 1)}.${counter}`;
}

/** Tracers with counters of their own. */
const tracers = ['zipkin', 'opentelemetry'] as const;

/** Access loggers that send to a service. */
const logServices = ['grpc_access_log', 'open_telemetry_access_log'] as const;

/** First parts of names that hold an underscore themselves. */
const parts = ['cluster_manager', 'listener_manager'] as const;
