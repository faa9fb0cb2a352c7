/** VirtualServices with hosts and gateways completed, sorted by what they are bound to. */
import type { VirtualService } from '#config/kinds/virtual_service/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { type ConfigObject, configObjects } from './config_object.ts';
import { resolveHost } from './hosts.ts';
import type { MeshIndex } from './mesh_index.ts';
import { append } from './multimap.ts';

/** The name that stands for all sidecars among the gateways of a VirtualService. */
export const meshGateway = 'mesh';

/** A VirtualService with full names. */
export interface RoutingRule extends ConfigObject<VirtualService> {
  /** Full host names, wildcards included. */
  readonly hosts: readonly string[];
  /** `namespace/name`, or `mesh`. */
  readonly gateways: readonly string[];
}

/** All VirtualServices. Each list is in order of age: of two for one host, sidecars take the first. */
export interface VirtualServiceIndex {
  readonly mesh: readonly RoutingRule[];
  /** By `namespace/name` of the gateway. */
  readonly byGateway: ReadonlyMap<string, readonly RoutingRule[]>;
  /** Keys of labels that conditions on the caller name. */
  readonly sourceLabelKeys: ReadonlySet<string>;
}

/** `mesh`, or the full name of a gateway as an object of `namespace` names it. */
export function resolveGateway(name: string, namespace: string): string {
  if (name === meshGateway || name.includes('/')) return name.replace(/^\.\//, `${namespace}/`);
  // Istio once wrote the name as a DNS name; only the first two parts count.
  const [first = name, second] = name.split('.');
  return second === undefined ? `${namespace}/${name}` : `${second}/${first}`;
}

function readRule(object: ConfigObject<VirtualService>, mesh: MeshIndex): RoutingRule {
  const { namespace } = object.metadata;
  const gateways = object.spec.gateways ?? [];
  return {
    ...object,
    hosts: (object.spec.hosts ?? []).map((host) => resolveHost(host, namespace, mesh.domainSuffix)),
    gateways: (gateways.length === 0 ? [meshGateway] : gateways).map((name) =>
      resolveGateway(name, namespace),
    ),
  };
}

function collectSourceLabels(rule: RoutingRule, keys: Set<string>): void {
  for (const route of [...(rule.spec.http ?? []), ...(rule.spec.tls ?? []), ...(rule.spec.tcp ?? [])]) {
    for (const match of route.match ?? []) for (const key in match.sourceLabels) keys.add(key);
  }
}

/** Reads all VirtualServices. Those without hosts are delegates, which only other VirtualServices reach. */
export function buildVirtualServiceIndex(store: ConfigStore, mesh: MeshIndex): VirtualServiceIndex {
  const meshRules: RoutingRule[] = [];
  const byGateway = new Map<string, RoutingRule[]>();
  const sourceLabelKeys = new Set<string>();
  for (const object of configObjects<VirtualService>(store, 'VirtualService')) {
    const rule = readRule(object, mesh);
    if (rule.hosts.length === 0) continue;
    collectSourceLabels(rule, sourceLabelKeys);
    for (const gateway of new Set(rule.gateways)) {
      if (gateway === meshGateway) meshRules.push(rule);
      else append(byGateway, gateway, rule);
    }
  }
  return { mesh: meshRules, byGateway, sourceLabelKeys };
}

/** Full host names of all destinations of a rule. */
export function destinationHosts(rule: RoutingRule, domainSuffix: string): Set<string> {
  const hosts = new Set<string>();
  const add = (host: string | undefined) => {
    if (host !== undefined) hosts.add(resolveHost(host, rule.metadata.namespace, domainSuffix));
  };
  for (const http of rule.spec.http ?? []) {
    for (const route of http.route ?? []) add(route.destination?.host);
    add(http.mirror?.host);
    for (const mirror of http.mirrors ?? []) add(mirror.destination?.host);
  }
  for (const l4 of [...(rule.spec.tls ?? []), ...(rule.spec.tcp ?? [])]) {
    for (const route of l4.route ?? []) add(route.destination?.host);
  }
  return hosts;
}
