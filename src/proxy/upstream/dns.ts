/** Resolves the names of a DNS cluster again and again (envoy.config.cluster.v3.Cluster STRICT_DNS and LOGICAL_DNS). */
import { type RecordWithTtl, promises as dns } from 'node:dns';
import { fromBinary } from '@bufbuild/protobuf';
import {
  type Cluster,
  Cluster_DnsLookupFamily as Family,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { Address as AddressProto } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import { DnsClusterSchema } from '#api/gen/envoy/extensions/clusters/dns/v3/dns_cluster_pb.ts';
import { CaresDnsResolverConfigSchema } from '#api/gen/envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import { durationMs } from '../network/duration.ts';
import { parseIp } from '../network/ip.ts';
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';
import type { Assignment, EndpointSpec, LocalitySpec } from './host_sets.ts';
import type { ClusterStats } from './upstream.ts';

/** Shortest time between two resolutions, milliseconds; a longer one for TTLs, which others decide. */
const minRefreshMs = 50;
const minTtlMs = 1000;
/** Most addresses taken from one answer. */
const maxAddresses = 1000;
/** Envoy's defaults of `query_timeout_seconds` and `query_tries`. */
const defaultQuery = { timeoutMs: 5000, tries: 4 };

/** How a DNS cluster resolves. */
export interface DnsOptions {
  readonly refreshMs: number;
  readonly failureBaseMs: number;
  readonly failureMaxMs: number;
  readonly respectTtl: boolean;
  /** Most that is added by chance to each wait (`dns_jitter`). */
  readonly jitterMs: number;
  readonly family: 'auto' | 'v4' | 'v6' | 'v4_preferred' | 'all';
  /** `host:port` of DNS servers; empty asks the system. */
  readonly servers: readonly string[];
  /** Milliseconds that a question waits for its answer the first time, and how often it is asked. */
  readonly query: { readonly timeoutMs: number; readonly tries: number };
  /** One host per name (LOGICAL_DNS). */
  readonly firstOnly: boolean;
}

/** Addresses of a name and how long they hold. */
export interface DnsAnswer {
  readonly addresses: readonly string[];
  readonly ttlMs: number | undefined;
}

/** Counts what resolutions came to (`update_*` of a cluster). */
export type DnsStats = Pick<
  ClusterStats,
  'updateAttempt' | 'updateSuccess' | 'updateFailure' | 'updateNoRebuild'
>;

/** Asks DNS; tests inject their own. No addresses: the name does not exist or has none. Rejects when nobody can tell. */
export type ResolveName = (name: string, options: DnsOptions) => Promise<DnsAnswer>;

const families = new Map<number, DnsOptions['family']>([
  [Family.V4_ONLY, 'v4'],
  [Family.V6_ONLY, 'v6'],
  [Family.V4_PREFERRED, 'v4_preferred'],
  [Family.ALL, 'all'],
]);

function serversOf(addresses: readonly AddressProto[]): string[] {
  return addresses.flatMap(({ address }) => {
    if (address.case !== 'socketAddress') return [];
    const { address: ip, portSpecifier } = address.value;
    const port = portSpecifier.case === 'portValue' ? portSpecifier.value : 53;
    return [ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`];
  });
}

function readResolver(cluster: Cluster): Pick<DnsOptions, 'servers' | 'query'> {
  const typed = cluster.typedDnsResolverConfig?.typedConfig;
  if (typed?.typeUrl !== typeUrlOf(CaresDnsResolverConfigSchema))
    return {
      servers: serversOf(cluster.dnsResolutionConfig?.resolvers ?? cluster.dnsResolvers),
      query: defaultQuery,
    };
  const { resolvers, queryTimeoutSeconds, queryTries } = fromBinary(
    CaresDnsResolverConfigSchema,
    typed.value,
  );
  const timeoutMs =
    queryTimeoutSeconds === undefined ? defaultQuery.timeoutMs : Number(queryTimeoutSeconds) * 1000;
  return { servers: serversOf(resolvers), query: { timeoutMs, tries: queryTries ?? defaultQuery.tries } };
}

/** @throws Error when an extension's configuration cannot be decoded. */
export function readDnsOptions(cluster: Cluster, logical: boolean): DnsOptions {
  const type = cluster.clusterDiscoveryType;
  const any = type.case === 'clusterType' ? type.value.typedConfig : undefined;
  if (any !== undefined) {
    const config = fromBinary(DnsClusterSchema, any.value);
    const refreshMs = durationMs(config.dnsRefreshRate) ?? 5000;
    return {
      refreshMs,
      failureBaseMs: durationMs(config.dnsFailureRefreshRate?.baseInterval) ?? refreshMs,
      failureMaxMs: durationMs(config.dnsFailureRefreshRate?.maxInterval) ?? refreshMs * 10,
      respectTtl: config.respectDnsTtl,
      jitterMs: durationMs(config.dnsJitter) ?? 0,
      // The new enum has one value more in front: UNSPECIFIED.
      family: families.get(Number(config.dnsLookupFamily) - 1) ?? 'auto',
      ...readResolver(cluster),
      firstOnly: config.allAddressesInSingleEndpoint,
    };
  }
  const refreshMs = durationMs(cluster.dnsRefreshRate) ?? 5000;
  const failure = cluster.dnsFailureRefreshRate;
  const failureBaseMs = durationMs(failure?.baseInterval) ?? refreshMs;
  return {
    refreshMs,
    failureBaseMs,
    failureMaxMs:
      durationMs(failure?.maxInterval) ?? (failure === undefined ? refreshMs : failureBaseMs * 10),
    respectTtl: cluster.respectDnsTtl,
    jitterMs: durationMs(cluster.dnsJitter) ?? 0,
    family: families.get(Number(cluster.dnsLookupFamily)) ?? 'auto',
    ...readResolver(cluster),
    firstOnly: logical,
  };
}

/** Asks for one family with TTLs; an empty list when there is none of it. */
async function records(resolver: dns.Resolver, name: string, six: boolean): Promise<RecordWithTtl[]> {
  try {
    return six
      ? ((await resolver.resolve6(name, { ttl: true })) as RecordWithTtl[])
      : ((await resolver.resolve4(name, { ttl: true })) as RecordWithTtl[]);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENODATA' || code === 'ENOTFOUND') return [];
    throw error;
  }
}

/** One for each cluster, for as long as it lives. */
const resolvers = new WeakMap<DnsOptions, dns.Resolver>();

function resolverFor(options: DnsOptions): dns.Resolver {
  let resolver = resolvers.get(options);
  if (resolver === undefined) {
    resolver = new dns.Resolver({ timeout: options.query.timeoutMs, tries: options.query.tries });
    if (options.servers.length > 0) resolver.setServers(options.servers);
    resolvers.set(options, resolver);
  }
  return resolver;
}

async function ask(
  name: string,
  options: DnsOptions,
): Promise<{ four: RecordWithTtl[]; six: RecordWithTtl[] }> {
  const { family, servers } = options;
  if (servers.length > 0 || options.respectTtl) {
    const resolver = resolverFor(options);
    const [four, six] = await Promise.all([
      family === 'v6' ? [] : records(resolver, name, false),
      family === 'v4' ? [] : records(resolver, name, true),
    ]);
    if (four.length + six.length > 0 || servers.length > 0) return { four, six };
  }
  // getaddrinfo also knows /etc/hosts, as Envoy's resolver does.
  const wanted = family === 'v4' ? 4 : family === 'v6' ? 6 : 0;
  const found = await dns.lookup(name, { all: true, family: wanted }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOTFOUND') return [];
    throw error;
  });
  const of = (version: number): RecordWithTtl[] =>
    found.filter((entry) => entry.family === version).map(({ address }) => ({ address, ttl: NaN }));
  return { four: of(4), six: of(6) };
}

/** Resolves by the system or by the cluster's servers, and picks families as `dns_lookup_family` says. */
export const resolveName: ResolveName = async (name, options) => {
  const { four, six } = await ask(name, options);
  const chosen =
    options.family === 'all'
      ? [...six, ...four]
      : options.family === 'v4_preferred'
        ? four.length > 0
          ? four
          : six
        : six.length > 0
          ? six
          : four;
  const ttl = Math.min(...chosen.map((record) => record.ttl));
  return {
    addresses: [...new Set(chosen.map((record) => record.address))].slice(0, maxAddresses),
    ttlMs: !Number.isFinite(ttl) ? undefined : ttl * 1000,
  };
};

/** The resolution of one name: the last good answer and when to ask again. */
interface NameState {
  addresses: readonly string[];
  failures: number;
  timer: TimerHandle | undefined;
}

/** Turns endpoints with names into endpoints with addresses, for as long as its cluster lives. */
export class DnsEndpoints {
  readonly #names: Assignment;
  readonly #options: DnsOptions;
  readonly #resolve: ResolveName;
  readonly #onChange: (assignment: Assignment) => void;
  readonly #stats: DnsStats;
  readonly #states = new Map<string, NameState>();
  /** Names that were not answered for the first time. */
  #open = 0;
  #closed = false;

  /** @param onChange hears the first result when every name was tried once, then each change. */
  constructor(
    names: Assignment,
    options: DnsOptions,
    resolve: ResolveName,
    stats: DnsStats,
    onChange: (assignment: Assignment) => void,
  ) {
    this.#stats = stats;
    this.#names = names;
    this.#options = options;
    this.#resolve = resolve;
    this.#onChange = onChange;
    for (const { endpoints } of names.localities)
      for (const { address } of endpoints)
        if (address.port >= 0 && parseIp(address.ip) === undefined && !this.#states.has(address.ip))
          this.#states.set(address.ip, { addresses: [], failures: 0, timer: undefined });
    this.#open = this.#states.size;
  }

  start(): void {
    if (this.#states.size === 0) {
      this.#onChange(this.#names);
      return;
    }
    for (const [name, state] of this.#states) void this.#refresh(name, state, true);
  }

  close(): void {
    this.#closed = true;
    for (const state of this.#states.values()) workerTimers.cancel(state.timer);
  }

  async #refresh(name: string, state: NameState, first: boolean): Promise<void> {
    const { refreshMs, failureBaseMs, failureMaxMs, respectTtl } = this.#options;
    let waitMs = refreshMs;
    let changed = false;
    const stats = this.#stats;
    stats.updateAttempt++;
    try {
      const answer = await this.#resolve(name, this.#options);
      // As in Envoy: without an address a STRICT_DNS name has no hosts, a LOGICAL_DNS one keeps what it has.
      if (this.#options.firstOnly && answer.addresses.length === 0) throw new Error(`no address for ${name}`);
      state.failures = 0;
      const addresses = this.#options.firstOnly ? answer.addresses.slice(0, 1) : answer.addresses;
      changed = addresses.join() !== state.addresses.join();
      state.addresses = addresses;
      stats.updateSuccess++;
      if (!changed) stats.updateNoRebuild++;
      if (respectTtl && answer.ttlMs !== undefined) waitMs = Math.max(answer.ttlMs, minTtlMs);
    } catch {
      stats.updateFailure++;
      // The last good answer stays; a name that never resolved has no hosts.
      waitMs = Math.min(failureBaseMs * 2 ** state.failures, failureMaxMs);
      state.failures = Math.min(state.failures + 1, 30);
    }
    if (this.#closed) return;
    const jitterMs = Math.random() * this.#options.jitterMs;
    state.timer = workerTimers.schedule(Math.max(waitMs, minRefreshMs) + jitterMs, () => {
      void this.#refresh(name, state, false);
    });
    if (first) this.#open--;
    if (this.#open === 0 && (changed || first)) this.#onChange(this.#resolved());
  }

  #resolved(): Assignment {
    const localities = this.#names.localities.map((spec): LocalitySpec => ({
      ...spec,
      endpoints: spec.endpoints.flatMap((endpoint): EndpointSpec[] => {
        const state = this.#states.get(endpoint.address.ip);
        if (state === undefined) return [endpoint];
        const hostname = endpoint.hostname === '' ? endpoint.address.ip : endpoint.hostname;
        return state.addresses.map((ip) => ({
          ...endpoint,
          ...(this.#options.firstOnly ? { key: `${endpoint.address.ip} ${endpoint.address.port}` } : {}),
          hostname,
          address: { ip, port: endpoint.address.port },
        }));
      }),
    }));
    return { ...this.#names, localities };
  }
}
