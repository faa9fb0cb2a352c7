/** `/clusters` and `/listeners`, in Envoy's text and JSON forms. */
import { formatAddress } from '../network/address.ts';
import { HealthFlag, healthFlagsText } from '../upstream/health_flags.ts';
import { type AdminPage, json, regexParameter, text } from './page.ts';
import type { ClusterLimits, ClusterState, HostState, ListenerState } from './proxy_state.ts';

function addressJson({ ip, port }: { readonly ip: string; readonly port: number }): object {
  return port < 0 ? { pipe: { path: ip } } : { socket_address: { address: ip, port_value: port } };
}

function hostLines(cluster: ClusterState): string[] {
  return cluster.hosts.flatMap((host) => {
    const prefix = `${cluster.observabilityName}::${formatAddress({ ip: host.address, port: host.port })}`;
    return [
      ...Object.entries(host.stats).map(([name, value]) => `${prefix}::${name}::${value}`),
      `${prefix}::hostname::${host.hostname}`,
      `${prefix}::health_flags::${healthFlagsText(host.healthFlags)}`,
      `${prefix}::weight::${host.weight}`,
      `${prefix}::region::${host.region}`,
      `${prefix}::zone::${host.zone}`,
      `${prefix}::sub_zone::${host.subZone}`,
      `${prefix}::canary::${host.canary}`,
      `${prefix}::priority::${host.priority}`,
      `${prefix}::success_rate::${host.successRate}`,
      `${prefix}::local_origin_success_rate::${host.localOriginSuccessRate}`,
    ];
  });
}

function limitLines(name: string, priority: string, limits: ClusterLimits): string[] {
  return [
    `${name}::${priority}_priority::max_connections::${limits.maxConnections}`,
    `${name}::${priority}_priority::max_pending_requests::${limits.maxPendingRequests}`,
    `${name}::${priority}_priority::max_requests::${limits.maxRequests}`,
    `${name}::${priority}_priority::max_retries::${limits.maxRetries}`,
  ];
}

function clusterText(cluster: ClusterState): string[] {
  const name = cluster.observabilityName;
  return [
    `${name}::observability_name::${name}`,
    ...limitLines(name, 'default', cluster.limits.default),
    ...limitLines(name, 'high', cluster.limits.high),
    `${name}::added_via_api::${!cluster.static}`,
    ...(cluster.edsServiceName === '' ? [] : [`${name}::eds_service_name::${cluster.edsServiceName}`]),
    ...hostLines(cluster),
  ];
}

function limitsJson(priority: string, limits: ClusterLimits): object {
  return {
    ...(priority === 'HIGH' ? { priority } : {}),
    max_connections: limits.maxConnections,
    max_pending_requests: limits.maxPendingRequests,
    max_requests: limits.maxRequests,
    max_retries: limits.maxRetries,
  };
}

const flagFields: readonly (readonly [number, string])[] = [
  [HealthFlag.failedActiveHc, 'failed_active_health_check'],
  [HealthFlag.failedOutlierCheck, 'failed_outlier_check'],
  [HealthFlag.degradedActiveHc, 'failed_active_degraded_check'],
  [HealthFlag.pendingDynamicRemoval, 'pending_dynamic_removal'],
  [HealthFlag.pendingActiveHc, 'pending_active_hc'],
  [HealthFlag.excludedViaImmediateHcFail, 'excluded_via_immediate_hc_fail'],
  [HealthFlag.activeHcTimeout, 'active_hc_timeout'],
];

function healthStatusJson(flags: number): object {
  const set = flagFields.filter(([flag]) => (flags & flag) !== 0).map(([, name]) => [name, true]);
  const status =
    (flags & HealthFlag.failedEdsHealth) !== 0
      ? 'UNHEALTHY'
      : (flags & HealthFlag.edsStatusDraining) !== 0
        ? 'DRAINING'
        : (flags & HealthFlag.degradedEdsHealth) !== 0
          ? 'DEGRADED'
          : 'HEALTHY';
  return { ...Object.fromEntries(set), eds_health_status: status };
}

function hostJson(host: HostState): object {
  return {
    address: addressJson({ ip: host.address, port: host.port }),
    // Counters first, as Envoy; zero is left out, as protobuf's JSON does.
    stats: Object.entries(host.stats)
      .map(([name, value]) => ({
        ...(name.endsWith('_active') ? { type: 'GAUGE' } : {}),
        ...(value === 0 ? {} : { value: String(value) }),
        name,
      }))
      .sort((a, b) => Number('type' in a) - Number('type' in b)),
    health_status: healthStatusJson(host.healthFlags),
    ...(host.successRate < 0 ? {} : { success_rate: { value: host.successRate } }),
    ...(host.localOriginSuccessRate < 0
      ? {}
      : { local_origin_success_rate: { value: host.localOriginSuccessRate } }),
    weight: host.weight,
    ...(host.hostname === '' ? {} : { hostname: host.hostname }),
    ...(host.priority === 0 ? {} : { priority: host.priority }),
    locality: {
      ...(host.region === '' ? {} : { region: host.region }),
      ...(host.zone === '' ? {} : { zone: host.zone }),
      ...(host.subZone === '' ? {} : { sub_zone: host.subZone }),
    },
  };
}

function clusterJson(cluster: ClusterState): object {
  return {
    name: cluster.name,
    ...(cluster.static ? {} : { added_via_api: true }),
    host_statuses: cluster.hosts.map(hostJson),
    circuit_breakers: {
      thresholds: [limitsJson('DEFAULT', cluster.limits.default), limitsJson('HIGH', cluster.limits.high)],
    },
    observability_name: cluster.observabilityName,
    ...(cluster.edsServiceName === '' ? {} : { eds_service_name: cluster.edsServiceName }),
  };
}

export const clusters: AdminPage = {
  path: '/clusters',
  help: 'upstream cluster status',
  changes: false,
  parameters: [
    { name: 'filter', help: 'Regular expression (Google re2) for filtering clusters by name' },
    { name: 'format', help: 'File format to use; One of (text, json)' },
  ],
  async answer(state, { query }) {
    const filter = regexParameter(query, 'filter');
    if (filter !== undefined && 'bad' in filter) return text('Invalid re2 regex', 400);
    const all = await state.clusters();
    const list = filter === undefined ? all : all.filter(({ name }) => filter.find(name));
    if (query.get('format') === 'json') return json({ cluster_statuses: list.map(clusterJson) });
    return text(list.map((cluster) => `${clusterText(cluster).join('\n')}\n`).join(''));
  },
};

function listenerJson(listener: ListenerState): object {
  const [first, ...rest] = listener.addresses.map(addressJson);
  return {
    name: listener.name,
    ...(first === undefined ? {} : { local_address: first }),
    ...(rest.length === 0 ? {} : { additional_local_addresses: rest }),
  };
}

export const listeners: AdminPage = {
  path: '/listeners',
  help: 'print listener info',
  changes: false,
  parameters: [{ name: 'format', help: 'File format to use; One of (text, json)' }],
  async answer(state, { query }) {
    const list = await state.listeners();
    if (query.get('format') === 'json') return json({ listener_statuses: list.map(listenerJson) });
    return text(
      list.map(({ name, addresses }) => `${[name, ...addresses.map(formatAddress)].join('::')}\n`).join(''),
    );
  },
};
