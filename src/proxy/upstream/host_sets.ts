/** From endpoints to host sets: keeps the host objects whose address stays (envoy PrioritySet, updateDynamicHostList). */
import { HealthStatus } from '#api/gen/envoy/config/core/v3/health_check_pb.ts';
import type {
  ClusterLoadAssignment,
  ClusterLoadAssignment_Policy_DropOverload,
} from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { FractionalPercent_DenominatorType as Denominator } from '#api/gen/envoy/type/v3/percent_pb.ts';
import type { Endpoint, LbEndpoint } from '#api/gen/envoy/config/endpoint/v3/endpoint_components_pb.ts';
import type { Address } from '../network/address.ts';
import { parseIp } from '../network/ip.ts';
import { HealthFlag, excludedFlags } from './health_flags.ts';
import { type HealthCheckTarget, UpstreamHost, hostKey } from './host.ts';
import type { HostSet, LocalityHosts } from './load_balancer.ts';
import type { TransportSockets } from './transport_socket_matches.ts';
import type { Host, MetadataMap } from './upstream.ts';
import { refuseFields } from '../network/refused_fields.ts';

/** Most hosts of one cluster. */
export const maxHosts = 100_000;
/** Highest priority, as in Envoy's validation. */
const maxPriority = 128;

/** An endpoint before it is a host: `address` may still hold a DNS name. */
export interface EndpointSpec {
  /** What the host is known by when its address may change (LOGICAL_DNS). */
  readonly key?: string;
  readonly address: Address;
  readonly hostname: string;
  readonly metadata: MetadataMap | undefined;
  /** Bits of `HealthFlag` that the assignment sets. */
  readonly flags: number;
  /** `health_status` of the endpoint. */
  readonly status: HealthStatus;
  readonly weight: number;
  readonly healthCheck: HealthCheckTarget | undefined;
}

/** Endpoints of one locality and priority. */
export interface LocalitySpec {
  readonly locality: Host['locality'];
  readonly priority: number;
  readonly weight: number;
  readonly endpoints: readonly EndpointSpec[];
}

/** What an assignment says, without protobuf. */
export interface Assignment {
  readonly localities: readonly LocalitySpec[];
  readonly overprovisioningFactor: number;
  /** Share of requests that is answered without a host, 0 to 1 (`policy.drop_overloads`). */
  readonly dropOverload: number;
}

export const emptyAssignment: Assignment = {
  localities: [],
  overprovisioningFactor: 140,
  dropOverload: 0,
};

const noMetadata: MetadataMap | undefined = undefined;

function readEndpoint(
  lb: LbEndpoint,
  named: ClusterLoadAssignment['namedEndpoints'],
  where: string,
): EndpointSpec {
  const id = lb.hostIdentifier;
  const endpoint =
    id.case === 'endpoint' ? id.value : id.case === 'endpointName' ? named[id.value] : undefined;
  const address = endpoint?.address?.address;
  if (endpoint === undefined || address === undefined) throw new Error(`${where}: no endpoint address`);
  let found: Address;
  if (address.case === 'pipe') found = { ip: address.value.path, port: -1 };
  else if (address.case === 'socketAddress' && address.value.portSpecifier.case === 'portValue')
    found = { ip: address.value.address, port: address.value.portSpecifier.value };
  else throw new Error(`${where}: an address must be a pipe or a socket address with a port_value`);
  return {
    address: found,
    hostname: endpoint.hostname,
    metadata: (lb.metadata?.filterMetadata as MetadataMap | undefined) ?? noMetadata,
    flags: flagsOf(lb.healthStatus),
    status: lb.healthStatus,
    weight: lb.loadBalancingWeight ?? 1,
    healthCheck: healthCheckOf(endpoint.healthCheckConfig, where),
  };
}

/** Bits that only an assignment sets. */
const assignedFlags =
  HealthFlag.failedEdsHealth | HealthFlag.degradedEdsHealth | HealthFlag.edsStatusDraining;

function flagsOf(status: HealthStatus): number {
  switch (status) {
    case HealthStatus.UNHEALTHY:
    case HealthStatus.TIMEOUT:
      return HealthFlag.failedEdsHealth;
    case HealthStatus.DRAINING:
      return HealthFlag.edsStatusDraining;
    case HealthStatus.DEGRADED:
      return HealthFlag.degradedEdsHealth;
    default:
      return 0;
  }
}

function healthCheckOf(config: Endpoint['healthCheckConfig'], where: string): HealthCheckTarget | undefined {
  if (config === undefined) return undefined;
  const address = config.address?.address;
  if (address?.case === 'pipe')
    return { ...readTarget(config), address: { ip: address.value.path, port: -1 } };
  if (address?.case !== 'socketAddress') return { ...readTarget(config), address: undefined };
  const { address: ip, portSpecifier } = address.value;
  if (parseIp(ip) === undefined || portSpecifier.case !== 'portValue')
    throw new Error(`${where}: health_check_config.address must be an IP address with a port_value`);
  if (config.portValue !== 0)
    throw new Error(`${where}: health_check_config has both address and port_value`);
  return { ...readTarget(config), address: { ip, port: portSpecifier.value } };
}

function readTarget(config: NonNullable<Endpoint['healthCheckConfig']>) {
  return {
    port: config.portValue,
    hostname: config.hostname,
    disabled: config.disableActiveHealthCheck,
  };
}

/** What a numerator counts. */
const denominators: Readonly<Record<Denominator, number>> = {
  [Denominator.HUNDRED]: 100,
  [Denominator.TEN_THOUSAND]: 1e4,
  [Denominator.MILLION]: 1e6,
};

function readDropOverload(categories: readonly ClusterLoadAssignment_Policy_DropOverload[]): number {
  if (categories.length > 1) throw new Error('policy.drop_overloads: more than one category');
  const percentage = categories[0]?.dropPercentage;
  if (percentage === undefined) return 0;
  const share = percentage.numerator / (denominators[percentage.denominator] ?? 100);
  if (share > 1) throw new Error('policy.drop_overloads: drop_percentage is above 100 %');
  return share;
}

/**
 * Reads an assignment.
 * @param namesAllowed DNS names may stand in place of addresses (DNS clusters).
 * @throws Error with the path of what is wrong.
 */
export function readAssignment(proto: ClusterLoadAssignment | undefined, namesAllowed: boolean): Assignment {
  if (proto === undefined) return emptyAssignment;
  let count = 0;
  refuseFields(proto.policy, 'policy.');
  const localities = proto.endpoints.map((group, i): LocalitySpec => {
    refuseFields(group, `endpoints[${i}].`);
    if (group.priority > maxPriority) throw new Error(`endpoints[${i}].priority: above ${maxPriority}`);
    const list =
      group.lbConfig.case === 'loadBalancerEndpoints' ? group.lbConfig.value.lbEndpoints : group.lbEndpoints;
    count += list.length;
    if (count > maxHosts) throw new Error(`endpoints: more than ${maxHosts} hosts`);
    const endpoints = list.map((lb, j) => {
      const spec = readEndpoint(lb, proto.namedEndpoints, `endpoints[${i}].lb_endpoints[${j}]`);
      if (!namesAllowed && spec.address.port >= 0 && parseIp(spec.address.ip) === undefined)
        throw new Error(
          `endpoints[${i}].lb_endpoints[${j}]: malformed IP address: ${spec.address.ip}. Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'`,
        );
      return spec;
    });
    const { region = '', zone = '', subZone = '' } = group.locality ?? {};
    return {
      locality: { region, zone, subZone },
      priority: group.priority,
      weight: group.loadBalancingWeight ?? 0,
      endpoints,
    };
  });
  return {
    localities,
    overprovisioningFactor: proto.policy?.overprovisioningFactor ?? 140,
    dropOverload: readDropOverload(proto.policy?.dropOverloads ?? []),
  };
}

/** The parts of a list that health makes. */
export function byHealth(
  hosts: readonly UpstreamHost[],
): Pick<LocalityHosts, 'healthyHosts' | 'degradedHosts' | 'excludedCount'> {
  let excludedCount = 0;
  const healthyHosts: UpstreamHost[] = [];
  const degradedHosts: UpstreamHost[] = [];
  for (const host of hosts) {
    if (host.has(excludedFlags)) excludedCount++;
    if (host.healthy) healthyHosts.push(host);
    else if (host.degraded) degradedHosts.push(host);
  }
  return { healthyHosts, degradedHosts, excludedCount };
}

/** Hosts of a cluster by address, with the grouping that host sets are made from. */
export class HostTable {
  readonly #sockets: TransportSockets;
  #hosts = new Map<string, UpstreamHost>();
  #groups: { readonly spec: LocalitySpec; readonly hosts: UpstreamHost[] }[] = [];
  #overprovisioningFactor = 140;

  constructor(sockets: TransportSockets) {
    this.#sockets = sockets;
  }

  get size(): number {
    return this.#hosts.size;
  }

  hosts(): IterableIterator<UpstreamHost> {
    return this.#hosts.values();
  }

  get(key: string): UpstreamHost | undefined {
    return this.#hosts.get(key);
  }

  /**
   * Takes a new assignment over; answers with the hosts that came and that went.
   * @param lingers hosts for which it is true stay although the assignment does not name them
   */
  apply(
    assignment: Assignment,
    lingers?: (host: UpstreamHost) => boolean,
  ): { readonly added: UpstreamHost[]; readonly removed: UpstreamHost[] } {
    const old = this.#hosts;
    const hosts = new Map<string, UpstreamHost>();
    const added: UpstreamHost[] = [];
    this.#overprovisioningFactor = assignment.overprovisioningFactor;
    this.#groups = assignment.localities.map((spec) => {
      const group: UpstreamHost[] = [];
      for (const endpoint of spec.endpoints) {
        const key = endpoint.key ?? hostKey(endpoint.address);
        // The same address twice is one host: the first place counts.
        if (hosts.has(key)) continue;
        let host = old.get(key);
        const transport = this.#sockets.choose(endpoint.metadata);
        // Another transport socket means other connections: that is a new host.
        if (host === undefined || host.transport !== transport) {
          host = new UpstreamHost(
            endpoint.address,
            endpoint.hostname,
            endpoint.metadata,
            spec.locality,
            spec.priority,
            endpoint.weight,
            transport,
          );
          added.push(host);
        } else {
          host.address = endpoint.address;
          host.hostname = endpoint.hostname;
          host.metadata = endpoint.metadata;
          host.locality = spec.locality;
          host.priority = spec.priority;
          host.weight = endpoint.weight;
        }
        host.flags = (host.flags & ~(assignedFlags | HealthFlag.pendingDynamicRemoval)) | endpoint.flags;
        host.assignedStatus = endpoint.status;
        host.healthCheck = endpoint.healthCheck;
        host.refreshHealth();
        hosts.set(key, host);
        group.push(host);
      }
      return { spec, hosts: group };
    });
    const removed: UpstreamHost[] = [];
    for (const [key, host] of old) {
      if (hosts.get(key) === host) continue;
      if (lingers?.(host) !== true || hosts.has(key)) {
        removed.push(host);
        continue;
      }
      host.setFlag(HealthFlag.pendingDynamicRemoval, true);
      hosts.set(key, host);
      this.#groupOf(host).push(host);
    }
    this.#hosts = hosts;
    return { added, removed };
  }

  /** The hosts of a locality and priority; a new group when the assignment has none. */
  #groupOf({ locality, priority }: UpstreamHost): UpstreamHost[] {
    const found = this.#groups.find(
      ({ spec }) =>
        spec.priority === priority &&
        spec.locality.region === locality.region &&
        spec.locality.zone === locality.zone &&
        spec.locality.subZone === locality.subZone,
    );
    if (found !== undefined) return found.hosts;
    const group = { spec: { locality, priority, weight: 0, endpoints: [] }, hosts: [] };
    this.#groups.push(group);
    return group.hosts;
  }

  /** A host that lingered goes. */
  remove(host: UpstreamHost): void {
    for (const [key, other] of this.#hosts) if (other === host) this.#hosts.delete(key);
    for (const { hosts } of this.#groups) {
      const at = hosts.indexOf(host);
      if (at >= 0) hosts.splice(at, 1);
    }
  }

  /** Host sets by priority, from the health that hosts have now. */
  sets(): HostSet[] {
    const priorities = 1 + this.#groups.reduce((max, { spec }) => Math.max(max, spec.priority), 0);
    return Array.from({ length: priorities }, (_, priority) => {
      const localities: LocalityHosts[] = [];
      for (const { spec, hosts } of this.#groups) {
        if (spec.priority !== priority || hosts.length === 0) continue;
        localities.push({
          locality: spec.locality,
          weight: spec.weight,
          hosts,
          ...byHealth(hosts),
        });
      }
      return {
        priority,
        hosts: localities.flatMap((entry) => entry.hosts),
        healthyHosts: localities.flatMap((entry) => entry.healthyHosts),
        degradedHosts: localities.flatMap((entry) => entry.degradedHosts),
        excludedCount: localities.reduce((sum, entry) => sum + entry.excludedCount, 0),
        localities,
        overprovisioningFactor: this.#overprovisioningFactor,
      };
    });
  }
}
