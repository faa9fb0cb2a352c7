/** From endpoints to host sets: keeps the host objects whose address stays (envoy PrioritySet, updateDynamicHostList). */
import { HealthStatus } from '#api/gen/envoy/config/core/v3/health_check_pb.ts';
import type { ClusterLoadAssignment } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import type { LbEndpoint } from '#api/gen/envoy/config/endpoint/v3/endpoint_components_pb.ts';
import type { Address } from '../network/address.ts';
import { parseIp } from '../network/ip.ts';
import { UpstreamHost, hostKey } from './host.ts';
import type { HostSet, LocalityHosts } from './load_balancer.ts';
import type { TransportSockets } from './transport_socket_matches.ts';
import type { Host, MetadataMap } from './upstream.ts';

/** Most hosts of one cluster. */
export const maxHosts = 100_000;
/** Highest priority, as in Envoy's validation. */
const maxPriority = 128;

/** An endpoint before it is a host: `address` may still hold a DNS name. */
export interface EndpointSpec {
  readonly address: Address;
  readonly hostname: string;
  readonly metadata: MetadataMap | undefined;
  readonly healthy: boolean;
  readonly weight: number;
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
}

export const emptyAssignment: Assignment = { localities: [], overprovisioningFactor: 140 };

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
  const status = lb.healthStatus;
  return {
    address: found,
    hostname: endpoint.hostname,
    metadata: (lb.metadata?.filterMetadata as MetadataMap | undefined) ?? noMetadata,
    healthy:
      status !== HealthStatus.UNHEALTHY &&
      status !== HealthStatus.DRAINING &&
      status !== HealthStatus.TIMEOUT,
    weight: lb.loadBalancingWeight ?? 1,
  };
}

/**
 * Reads an assignment.
 * @param namesAllowed DNS names may stand in place of addresses (DNS clusters).
 * @throws Error with the path of what is wrong.
 */
export function readAssignment(proto: ClusterLoadAssignment | undefined, namesAllowed: boolean): Assignment {
  if (proto === undefined) return emptyAssignment;
  let count = 0;
  const localities = proto.endpoints.map((group, i): LocalitySpec => {
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
  return { localities, overprovisioningFactor: proto.policy?.overprovisioningFactor ?? 140 };
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

  /** Takes a new assignment over; answers with the hosts that came and that went. */
  apply(assignment: Assignment): { readonly added: UpstreamHost[]; readonly removed: UpstreamHost[] } {
    const old = this.#hosts;
    const hosts = new Map<string, UpstreamHost>();
    const added: UpstreamHost[] = [];
    this.#overprovisioningFactor = assignment.overprovisioningFactor;
    this.#groups = assignment.localities.map((spec) => {
      const group: UpstreamHost[] = [];
      for (const endpoint of spec.endpoints) {
        const key = hostKey(endpoint.address);
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
          host.hostname = endpoint.hostname;
          host.metadata = endpoint.metadata;
          host.locality = spec.locality;
          host.priority = spec.priority;
          host.weight = endpoint.weight;
        }
        host.edsHealthy = endpoint.healthy;
        host.refreshHealth();
        hosts.set(key, host);
        group.push(host);
      }
      return { spec, hosts: group };
    });
    const removed: UpstreamHost[] = [];
    for (const [key, host] of old) if (hosts.get(key) !== host) removed.push(host);
    this.#hosts = hosts;
    return { added, removed };
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
          healthyHosts: hosts.filter((host) => host.healthy),
        });
      }
      return {
        priority,
        hosts: localities.flatMap((entry) => entry.hosts),
        healthyHosts: localities.flatMap((entry) => entry.healthyHosts),
        localities,
        overprovisioningFactor: this.#overprovisioningFactor,
      };
    });
  }
}
