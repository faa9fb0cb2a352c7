/**
 * What a sidecar or gateway of a namespace sees: services, VirtualServices and DestinationRules, as exportTo and the Sidecar
 * object allow. Shared by all proxies of the namespace that use the same Sidecar object.
 */
import type { IstioEgressListener, Sidecar } from '#config/kinds/sidecar/types.ts';
import { type ConfigObject, visibleIn } from './config_object.ts';
import { type DestinationRuleIndex, findDestinationRule, type MergedRule } from './destination_rule_index.ts';
import { hostsOverlap, hostWithin } from './hosts.ts';
import { labelFingerprint, type Labels } from './labels.ts';
import type { MeshIndex } from './mesh_index.ts';
import type { Service } from './service.ts';
import type { ServiceIndex } from './service_index.ts';
import { destinationHosts, type RoutingRule, type VirtualServiceIndex } from './virtual_service_index.ts';

/** The services and rules of one egress listener; without a Sidecar object there is one for everything. */
export interface EgressListener {
  /** Port and address of the Sidecar's egress; undefined: the ports and addresses of the services. */
  readonly config: IstioEgressListener | undefined;
  readonly services: readonly Service[];
  readonly virtualServices: readonly RoutingRule[];
}

/** What proxies of a namespace see. */
export interface ProxyScope {
  readonly namespace: string;
  readonly sidecar: ConfigObject<Sidecar> | undefined;
  readonly egress: readonly EgressListener[];
  /** The services of all egress listeners, oldest first. */
  readonly services: readonly Service[];
  readonly byHostname: ReadonlyMap<string, Service>;
  /** Whether connections to unknown hosts pass. */
  readonly allowAnyOutbound: boolean;
  /** The rule that a caller with these labels uses for a service. */
  destinationRule(service: Service, labels: Labels): MergedRule | undefined;
}

/** The indices that a scope is cut from. */
export interface ScopeSources {
  readonly mesh: MeshIndex;
  readonly services: ServiceIndex;
  readonly virtualServices: VirtualServiceIndex;
  readonly destinationRules: DestinationRuleIndex;
}

/** One entry of egress hosts, `namespace/host`. */
interface HostFilter {
  readonly namespace: string;
  readonly host: string;
}

function parseFilter(entry: string, namespace: string): HostFilter {
  const slash = entry.indexOf('/');
  const owner = slash < 0 ? '*' : entry.slice(0, slash);
  return { namespace: owner === '.' ? namespace : owner, host: entry.slice(slash + 1) };
}

function ownerMatches(filter: HostFilter, owner: string): boolean {
  return filter.namespace === '*' || filter.namespace === owner;
}

/** The services of an egress listener; a listener with a port takes only services that have it. */
function selectServices(
  visible: readonly Service[],
  filters: readonly HostFilter[],
  port: number | undefined,
): Service[] {
  return visible.filter(
    (service) =>
      (port === undefined || port === 0 || service.ports.some((candidate) => candidate.port === port)) &&
      filters.some(
        (filter) => ownerMatches(filter, service.namespace) && hostWithin(service.hostname, filter.host),
      ),
  );
}

function selectRules(rules: readonly RoutingRule[], filters: readonly HostFilter[]): RoutingRule[] {
  return rules.filter((rule) =>
    filters.some(
      (filter) =>
        ownerMatches(filter, rule.metadata.namespace) &&
        rule.hosts.some((host) => hostsOverlap(host, filter.host)),
    ),
  );
}

function buildEgress(
  config: IstioEgressListener,
  namespace: string,
  sources: ScopeSources,
  visible: readonly Service[],
  rules: readonly RoutingRule[],
): EgressListener {
  const filters = (config.hosts ?? []).map((entry) => parseFilter(entry, namespace));
  const services = selectServices(visible, filters, config.port?.number);
  const virtualServices = selectRules(rules, filters);
  // A rule that is imported brings the services that it leads to.
  const present = new Set(services.map(({ hostname }) => hostname));
  const byHostname = new Map(visible.map((service) => [service.hostname, service] as const));
  for (const rule of virtualServices) {
    for (const host of destinationHosts(rule, sources.mesh.domainSuffix)) {
      const service = byHostname.get(host);
      if (service === undefined || present.has(host)) continue;
      present.add(host);
      services.push(service);
    }
  }
  return { config, services, virtualServices };
}

/** Cuts out what proxies of a namespace with a Sidecar object (or none) see. */
export function buildProxyScope(
  sources: ScopeSources,
  namespace: string,
  sidecar: ConfigObject<Sidecar> | undefined,
): ProxyScope {
  const { mesh } = sources;
  const visible = sources.services.services.filter((service) =>
    visibleIn(service.exportTo, ['*'], service.namespace, namespace),
  );
  const ruleDefaults = mesh.config.defaultVirtualServiceExportTo ?? ['*'];
  const rules = sources.virtualServices.mesh.filter((rule) =>
    visibleIn(rule.spec.exportTo, ruleDefaults, rule.metadata.namespace, namespace),
  );
  const listeners = sidecar?.spec.egress ?? [];
  const egress: readonly EgressListener[] =
    listeners.length === 0
      ? [{ config: undefined, services: visible, virtualServices: rules }]
      : listeners.map((config) => buildEgress(config, namespace, sources, visible, rules));
  const byHostname = new Map<string, Service>();
  for (const listener of egress)
    for (const service of listener.services) byHostname.set(service.hostname, service);
  const policy = sidecar?.spec.outboundTrafficPolicy;
  const found = new Map<string, MergedRule | undefined>();
  return {
    namespace,
    sidecar,
    egress,
    services: egress.length === 1 ? (egress[0]?.services ?? []) : [...byHostname.values()],
    byHostname,
    allowAnyOutbound: policy === undefined ? mesh.allowAnyOutbound : policy.mode === 'ALLOW_ANY',
    destinationRule(service, labels) {
      const key = `${labelFingerprint(labels, sources.destinationRules.selectorKeys)} ${service.hostname}`;
      if (found.has(key)) return found.get(key);
      const rule = findDestinationRule(sources.destinationRules, mesh, service, namespace, labels);
      found.set(key, rule);
      return rule;
    },
  };
}
