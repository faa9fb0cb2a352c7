/**
 * A live route configuration (envoy.config.route.v3.RouteConfiguration): built once from the message, immutable, matched per
 * request. `matchRoute` is pure: the proxy, the CLI and simulations ask the same code.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { type Any, anyUnpack } from '@bufbuild/protobuf/wkt';
import type { SubstitutionFormatString } from '#api/gen/envoy/config/core/v3/substitution_format_string_pb.ts';
import type { RouteConfiguration } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import {
  FilterConfigSchema,
  type Route,
  type VirtualHost as VirtualHostProto,
  VirtualHost_TlsRequirementType as TlsRequirement,
  RetryPolicySchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { ROUTE_FILTER_CONFIG } from '#api/type_urls.ts';
import { compileHeaderRules, type HeaderRules } from '../http/header_rules.ts';
import type { ReplyBodyFormat } from '../http/local_reply.ts';
import type { RequestHeaderMap } from '../http/header_map.ts';
import type { TlsInfo } from '../network/connection.ts';
import type { RuntimeValues } from '../network/runtime.ts';
import { compileRateLimits } from './rate_limit_policy.ts';
import { type InheritedPolicies, compileAction } from './route_action.ts';
import {
  type ForwardAction,
  type PerFilterConfigs,
  RouteEntry,
  type RouteEntryParts,
  type VirtualHostInfo,
} from './route_entry.ts';
import { compileRouteMatch, type MatchInput, type MatchPredicate, pathOnly } from './route_match.ts';
import { DomainMatcher, withoutPort } from './virtual_host_match.ts';
import { compileWeighted, type WeightedChoice } from './weighted_clusters.ts';
import { refuseFields } from '../network/refused_fields.ts';

/** What building needs from outside. */
export interface RouteBuildContext {
  /**
   * Decodes a `typed_per_filter_config` of the filter with this name; undefined when no such filter is compiled in. Throws
   * Error when it is bad. `place` tells routes apart and is the same in all workers. The CLI leaves it out.
   */
  readonly filterConfig?: (filterName: string, config: Any, place: string) => unknown;
  /** Reads `DataSource.filename`. */
  readonly readFile?: (path: string) => string;
  /** Compiles a `body_format`. The CLI leaves it out: formats are not known there. */
  readonly replyBody?: (format: SubstitutionFormatString) => ReplyBodyFormat;
  /** Runtime values that change shares and weights. */
  readonly runtime?: RuntimeValues;
}

/** Inputs of a match besides the headers. */
export interface MatchContext {
  /** In [0, 1). Default `Math.random`. */
  readonly random?: () => number;
  /** Downstream TLS, for `tls_context`. */
  readonly tls?: TlsInfo | undefined;
}

interface CompiledRoute {
  readonly matches: MatchPredicate;
  readonly entry: RouteEntry;
  readonly weighted: WeightedChoice | undefined;
}

interface CompiledVirtualHost {
  readonly routes: readonly CompiledRoute[];
  readonly requireTls: 'none' | 'external' | 'all';
  readonly httpsRedirect: RouteEntry;
}

/** The configuration as requests see it. */
export interface RouteTable {
  readonly name: string;
  /** Lower case names that only internal requests may carry. */
  readonly internalOnlyHeaders: readonly string[];
  /** True when some route switches filters off or on. */
  readonly changesFilters: boolean;
  /** Clusters that routes name, for validation. */
  readonly clusters: ReadonlySet<string>;
  match(headers: RequestHeaderMap, context: MatchContext): RouteEntry | undefined;
}

const maxDirectResponseBytes = 4096;

function compileFilterConfigs(
  configs: Readonly<Record<string, Any>>,
  context: RouteBuildContext,
  place: string,
): PerFilterConfigs | undefined {
  const values = new Map<string, unknown>();
  const disabled = new Map<string, boolean>();
  for (const [name, any] of Object.entries(configs)) {
    let config: Any | undefined = any;
    let optional = false;
    if (any.typeUrl === ROUTE_FILTER_CONFIG) {
      const wrapper = fromBinary(FilterConfigSchema, any.value);
      disabled.set(name, wrapper.disabled);
      optional = wrapper.isOptional;
      config = wrapper.config;
    }
    if (config === undefined || context.filterConfig === undefined) continue;
    const value = context.filterConfig(name, config, place);
    if (value !== undefined) values.set(name, value);
    else if (!optional && context.filterConfig !== undefined)
      throw new Error(`no filter is known for typed_per_filter_config ${name} (${config.typeUrl})`);
  }
  return values.size === 0 && disabled.size === 0 ? undefined : { values, disabled };
}

/** A virtual host that was built. A table of a later version takes it over as it is when neither it nor the rest changed. */
export interface BuiltVirtualHost {
  readonly domains: readonly string[];
  readonly host: CompiledVirtualHost;
  /** Clusters that its routes name. */
  readonly clusters: ReadonlySet<string>;
  /** True when it switches filters off or on. */
  readonly changesFilters: boolean;
}

/** Builds a table from the fields of a configuration other than its virtual hosts, and virtual hosts one by one. */
export class RouteTableBuilder {
  readonly proto: RouteConfiguration;
  readonly context: RouteBuildContext;
  // Of the virtual host that is being built.
  #clusters = new Set<string>();
  #changesFilters = false;
  readonly #globalChangesFilters: boolean;
  readonly #globalRequest: HeaderRules | undefined;
  readonly #globalResponse: HeaderRules | undefined;
  readonly #globalFilters: PerFilterConfigs | undefined;

  /** @throws Error for a bad field. `virtual_hosts` is not read. */
  constructor(proto: RouteConfiguration, context: RouteBuildContext = {}) {
    if (proto.vhds !== undefined) throw new Error('vhds is not supported');
    this.proto = proto;
    this.context = context;
    this.#globalRequest = compileHeaderRules(proto.requestHeadersToAdd, proto.requestHeadersToRemove);
    this.#globalResponse = compileHeaderRules(proto.responseHeadersToAdd, proto.responseHeadersToRemove);
    this.#globalFilters = this.#filterConfigs(proto.typedPerFilterConfig, '');
    this.#globalChangesFilters = this.#changesFilters;
  }

  #filterConfigs(configs: Readonly<Record<string, Any>>, place: string): PerFilterConfigs | undefined {
    const compiled = compileFilterConfigs(configs, this.context, `${this.proto.name}\0${place}`);
    if (compiled !== undefined && compiled.disabled.size > 0) this.#changesFilters = true;
    return compiled;
  }

  /** Rules of all levels in the order in which they apply; `levels` come most specific first. */
  #order(levels: readonly (HeaderRules | undefined)[]): HeaderRules[] {
    const rules = levels.filter((level) => level !== undefined);
    return this.proto.mostSpecificHeaderMutationsWins ? rules.reverse() : rules;
  }

  /** @throws Error with the path of the field inside the virtual host (`routes[1] 'y': ...`). */
  virtualHost(host: VirtualHostProto): BuiltVirtualHost {
    this.#clusters = new Set();
    this.#changesFilters = this.#globalChangesFilters;
    const compiled = this.#compile(host);
    return {
      domains: host.domains,
      host: compiled,
      clusters: this.#clusters,
      changesFilters: this.#changesFilters,
    };
  }

  /** @throws Error when a domain stands twice. */
  build(hosts: readonly BuiltVirtualHost[]): RouteTable {
    return new LiveRouteTable(this.proto, hosts);
  }

  #compile(host: VirtualHostProto): CompiledVirtualHost {
    refuseFields(host);
    const info: VirtualHostInfo = {
      name: host.name,
      includeAttemptCount: host.includeRequestAttemptCount,
      includeAttemptCountInResponse: host.includeAttemptCountInResponse,
      includeIsTimeoutRetry: host.includeIsTimeoutRetryHeader,
      rateLimits: compileRateLimits(host.rateLimits),
    };
    const retryPolicy =
      host.retryPolicy ??
      (host.retryPolicyTypedConfig === undefined
        ? undefined
        : anyUnpack(host.retryPolicyTypedConfig, RetryPolicySchema));
    const inherited: InheritedPolicies = {
      retryPolicy,
      mirrors:
        host.requestMirrorPolicies.length > 0 ? host.requestMirrorPolicies : this.proto.requestMirrorPolicies,
      maxDirectResponseBytes: this.proto.maxDirectResponseBodySizeBytes ?? maxDirectResponseBytes,
      readFile: this.context.readFile,
      runtime: this.context.runtime,
      replyBody: this.context.replyBody,
    };
    const filters = this.#filterConfigs(host.typedPerFilterConfig, host.name);
    const request = compileHeaderRules(host.requestHeadersToAdd, host.requestHeadersToRemove);
    const response = compileHeaderRules(host.responseHeadersToAdd, host.responseHeadersToRemove);
    const limit = host.requestBodyBufferLimit ?? host.perRequestBufferLimitBytes;
    const base: RouteEntryParts = {
      name: '',
      clusterName: '',
      clusterHeader: '',
      action: { kind: 'direct', status: 500, body: '', format: undefined },
      virtualHost: info,
      metadata: undefined,
      filterConfigs: [filters, this.#globalFilters].filter((level) => level !== undefined),
      requestRules: this.#order([request, this.#globalRequest]),
      responseRules: this.#order([response, this.#globalResponse]),
      retryBufferLimit: limit === undefined ? undefined : Number(limit),
      operation: '',
      propagatesOperation: true,
      rateLimits: [],
      includeHostRateLimits: false,
    };
    const routes = host.routes.map((route, i) => {
      try {
        return this.#route(route, `${host.name}\0${i}`, base, inherited, request, response);
      } catch (error) {
        throw new Error(`routes[${i}] '${route.name}': ${(error as Error).message}`, { cause: error });
      }
    });
    const requireTls =
      host.requireTls === TlsRequirement.ALL
        ? 'all'
        : host.requireTls === TlsRequirement.EXTERNAL_ONLY
          ? 'external'
          : 'none';
    const httpsRedirect = new RouteEntry({
      ...base,
      action: {
        kind: 'redirect',
        status: 301,
        location: (headers) => `https://${headers.authority}${headers.path}`,
      },
    });
    return { routes, requireTls, httpsRedirect };
  }

  #route(
    route: Route,
    place: string,
    base: RouteEntryParts,
    inherited: InheritedPolicies,
    hostRequest: HeaderRules | undefined,
    hostResponse: HeaderRules | undefined,
  ): CompiledRoute {
    if (route.match === undefined) throw new Error('match is missing');
    const { matches, replacePrefix } = compileRouteMatch(route.match, this.context.runtime);
    const action = compileAction(route, replacePrefix, inherited);
    const filters = this.#filterConfigs(route.typedPerFilterConfig, place);
    const request = compileHeaderRules(route.requestHeadersToAdd, route.requestHeadersToRemove);
    const response = compileHeaderRules(route.responseHeadersToAdd, route.responseHeadersToRemove);
    const limit = route.requestBodyBufferLimit ?? route.perRequestBufferLimitBytes;
    const specifier = route.action.case === 'route' ? route.action.value.clusterSpecifier : undefined;
    if (route.action.case === 'route' && specifier?.case === undefined)
      throw new Error('route action without a cluster');
    if (specifier?.case === 'clusterSpecifierPlugin' || specifier?.case === 'inlineClusterSpecifierPlugin')
      throw new Error('cluster specifier plugins are not supported');
    if (specifier?.case === 'cluster') this.#clusters.add(specifier.value);
    const parts: RouteEntryParts = {
      ...base,
      name: route.name,
      clusterName: specifier?.case === 'cluster' ? specifier.value : '',
      clusterHeader: specifier?.case === 'clusterHeader' ? specifier.value.toLowerCase() : '',
      action,
      metadata: route.metadata?.filterMetadata,
      filterConfigs: filters === undefined ? base.filterConfigs : [filters, ...base.filterConfigs],
      requestRules: this.#order([request, hostRequest, this.#globalRequest]),
      responseRules: this.#order([response, hostResponse, this.#globalResponse]),
      retryBufferLimit: limit === undefined ? base.retryBufferLimit : Number(limit),
      operation: route.decorator?.operation ?? '',
      propagatesOperation: route.decorator?.propagate ?? true,
      rateLimits: route.action.case === 'route' ? compileRateLimits(route.action.value.rateLimits) : [],
      includeHostRateLimits:
        route.action.case === 'route' && (route.action.value.includeVhRateLimits ?? false),
    };
    if (specifier?.case !== 'weightedClusters' || action.kind !== 'forward')
      return { matches, entry: new RouteEntry(parts), weighted: undefined };
    const weighted = compileWeighted(
      specifier.value,
      (cluster) => {
        if (cluster.name !== '') this.#clusters.add(cluster.name);
        const own = this.#filterConfigs(cluster.typedPerFilterConfig, `${place}\0${cluster.name}`);
        const ownRequest = compileHeaderRules(cluster.requestHeadersToAdd, cluster.requestHeadersToRemove);
        const ownResponse = compileHeaderRules(cluster.responseHeadersToAdd, cluster.responseHeadersToRemove);
        const rewrite = cluster.hostRewriteSpecifier;
        const subset = cluster.metadataMatch?.filterMetadata['envoy.lb'];
        const ownAction: ForwardAction = {
          ...action,
          hostRewrite:
            rewrite.case === undefined ? action.hostRewrite : { kind: 'literal', host: rewrite.value },
          metadataMatch: subset === undefined ? action.metadataMatch : { ...action.metadataMatch, ...subset },
        };
        return new RouteEntry({
          ...parts,
          clusterName: cluster.name,
          clusterHeader: cluster.clusterHeader.toLowerCase(),
          action: ownAction,
          filterConfigs: own === undefined ? parts.filterConfigs : [own, ...parts.filterConfigs],
          requestRules: this.#order([ownRequest, request, hostRequest, this.#globalRequest]),
          responseRules: this.#order([ownResponse, response, hostResponse, this.#globalResponse]),
        });
      },
      this.context.runtime,
    );
    return { matches, entry: new RouteEntry(parts), weighted };
  }
}

class LiveRouteTable implements RouteTable, MatchInput {
  readonly name: string;
  readonly internalOnlyHeaders: readonly string[];
  readonly changesFilters: boolean;
  readonly clusters: ReadonlySet<string>;
  readonly #hosts: DomainMatcher<CompiledVirtualHost>;
  readonly #onlyAny: CompiledVirtualHost | undefined;
  readonly #ignorePort: boolean;
  readonly #hostHeader: string;
  readonly #ignoreParameters: boolean;
  #lastAuthority: string | undefined = undefined;
  #lastHost: CompiledVirtualHost | undefined = undefined;
  // Input of the match that is going on: matching is synchronous, so one object serves all.
  headers!: RequestHeaderMap;
  path = '';
  random: () => number = Math.random;
  tls: TlsInfo | undefined = undefined;

  /** @throws Error for what is not supported. */
  constructor(proto: RouteConfiguration, hosts: readonly BuiltVirtualHost[]) {
    refuseFields(proto);
    const entries: (readonly [string, CompiledVirtualHost])[] = [];
    const clusters = new Set<string>();
    let changesFilters = false;
    for (const built of hosts) {
      for (const domain of built.domains) entries.push([domain, built.host]);
      for (const cluster of built.clusters) clusters.add(cluster);
      changesFilters ||= built.changesFilters;
    }
    this.name = proto.name;
    this.#hosts = new DomainMatcher(entries);
    this.#onlyAny = this.#hosts.onlyAny ? this.#hosts.match('*') : undefined;
    this.#ignorePort = proto.ignorePortInHostMatching;
    this.#hostHeader = proto.vhostHeader.toLowerCase();
    this.#ignoreParameters = proto.ignorePathParametersInPathMatching;
    this.internalOnlyHeaders = proto.internalOnlyHeaders.map((name) => name.toLowerCase());
    this.changesFilters = changesFilters;
    this.clusters = clusters;
  }

  match(headers: RequestHeaderMap, context: MatchContext): RouteEntry | undefined {
    const host = this.#onlyAny ?? this.#findHost(headers);
    if (host === undefined) return undefined;
    if (host.requireTls !== 'none' && (headers.getFirst('x-forwarded-proto') ?? headers.scheme) !== 'https') {
      const internal = headers.getFirst('x-envoy-internal') === 'true';
      if (host.requireTls === 'all' || !internal) return host.httpsRedirect;
    }
    this.headers = headers;
    this.path = pathOnly(headers.path);
    if (this.#ignoreParameters) this.path = this.path.replace(/;[^/]*/g, '');
    this.random = context.random ?? Math.random;
    this.tls = context.tls;
    const { routes } = host;
    for (let i = 0; i < routes.length; i++) {
      const route = routes[i] as CompiledRoute;
      if (!route.matches(this)) continue;
      const entry =
        route.weighted === undefined ? route.entry : route.weighted.choose(headers, this.random());
      return entry.resolve(headers);
    }
    return undefined;
  }

  #findHost(headers: RequestHeaderMap): CompiledVirtualHost | undefined {
    const authority = this.#hostHeader === '' ? headers.authority : headers.get(this.#hostHeader);
    // Where a header names the host, requests without it have none.
    if (authority === undefined) return undefined;
    // Clients ask for the same host again and again.
    if (authority === this.#lastAuthority) return this.#lastHost;
    const lower = authority.toLowerCase();
    this.#lastHost = this.#hosts.match(this.#ignorePort ? withoutPort(lower) : lower);
    this.#lastAuthority = authority;
    return this.#lastHost;
  }
}

/** The error of one virtual host with its path in the configuration. */
export function atVirtualHost(index: number, name: string, error: unknown): Error {
  return new Error(`virtual_hosts[${index}] '${name}': ${(error as Error).message}`, { cause: error });
}

/**
 * Builds a route table. Throws Error with the path of the field (`virtual_hosts[0] 'x': routes[1] 'y': ...`).
 */
export function buildRouteTable(proto: RouteConfiguration, context: RouteBuildContext = {}): RouteTable {
  const builder = new RouteTableBuilder(proto, context);
  return builder.build(
    proto.virtualHosts.map((host, i) => {
      try {
        return builder.virtualHost(host);
      } catch (error) {
        throw atVirtualHost(i, host.name, error);
      }
    }),
  );
}

/** The route for a request, or undefined; pure but for `context.random`. */
export function matchRoute(
  table: RouteTable,
  headers: RequestHeaderMap,
  context: MatchContext = {},
): RouteEntry | undefined {
  return table.match(headers, context);
}
