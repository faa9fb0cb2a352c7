/** One route in the form that the connection manager and the router filter read (envoy Router::RouteEntry). */
import type { HeaderFormatContext } from '../http/header_formatter.ts';
import type { FilterRoute } from '../http/filter.ts';
import type { HeaderMap, RequestHeaderMap } from '../http/header_map.ts';
import type { HeaderRules } from '../http/header_rules.ts';
import type { ReplyBodyFormat } from '../http/local_reply.ts';
import type { Share } from '../network/runtime_fraction.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { InternalRedirectPolicy } from './internal_redirect_policy.ts';
import type { HashPolicy } from './hash_policy.ts';
import type { RateLimitPolicy } from './rate_limit_policy.ts';
import type { PrefixRewrite } from './route_match.ts';
import type { RetryPolicy } from './retry_policy.ts';

export type Metadata = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** `RequestMirrorPolicy`. */
export interface MirrorPolicy {
  readonly cluster: string;
  /** Header that names the cluster; empty when `cluster` does. */
  readonly clusterHeader: string;
  /** Share of requests. */
  readonly fraction: Share;
  /** Appends `-shadow` to the host. */
  readonly appendSuffix: boolean;
  readonly hostRewrite: string;
  /** `request_headers_mutations` of the copy, in order. */
  readonly rules: readonly HeaderRules[];
}

/** How the host changes on the way upstream. */
export type HostRewrite =
  | { readonly kind: 'none' }
  | { readonly kind: 'literal'; readonly host: string }
  /** The hostname of the chosen endpoint. */
  | { readonly kind: 'auto' }
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'path'; readonly rewrite: (path: string) => string }
  | { readonly kind: 'format'; readonly format: (context: HeaderFormatContext) => string };

/** How the path changes on the way upstream. */
export type PathRewrite =
  | { readonly kind: 'none' }
  | { readonly kind: 'prefix'; readonly replacement: string; readonly replace: PrefixRewrite }
  | { readonly kind: 'regex'; readonly rewrite: (path: string) => string }
  | { readonly kind: 'format'; readonly format: (context: HeaderFormatContext) => string };

/** `RouteAction`, all that requests need of it. */
export interface ForwardAction {
  readonly kind: 'forward';
  readonly clusterNotFoundStatus: number;
  /** 0 means no timeout; default 15 s. */
  readonly timeoutMs: number;
  /** Undefined leaves the connection manager's. */
  readonly idleTimeoutMs: number | undefined;
  /** `max_stream_duration`; undefined leaves the connection manager's. */
  readonly maxStreamDurationMs: number | undefined;
  /** Bound on `grpc-timeout`; undefined ignores the header, 0 takes it unbounded. */
  readonly grpcTimeoutMaxMs: number | undefined;
  readonly grpcTimeoutOffsetMs: number;
  /** True when `grpc_timeout_header_max` set the bound: it limits the stream, not the response. */
  readonly grpcLimitsStream: boolean;
  readonly hostRewrite: HostRewrite;
  readonly appendForwardedHost: boolean;
  readonly pathRewrite: PathRewrite;
  readonly retryPolicy: RetryPolicy | undefined;
  readonly priority: 'default' | 'high';
  readonly hashPolicy: HashPolicy | undefined;
  /** `envoy.lb` of metadata_match: the wanted subset. */
  readonly metadataMatch: Readonly<Record<string, unknown>> | undefined;
  readonly mirrors: readonly MirrorPolicy[];
  /** Upgrade types switched on or off for the route, lower case. */
  readonly upgrades: ReadonlyMap<string, boolean> | undefined;
  /** CONNECT (and POST, when allowed) ends here, its payload goes to the upstream as plain TCP (connect_config). */
  readonly connect: { readonly allowPost: boolean } | undefined;
  /** Redirects of the upstream that are followed here. */
  readonly redirects: InternalRedirectPolicy | undefined;
}

/** `DirectResponseAction`. */
export interface DirectAction {
  readonly kind: 'direct';
  readonly status: number;
  readonly body: string;
  /** Makes the body of the one above. */
  readonly format: ReplyBodyFormat | undefined;
}

export interface RedirectAction {
  readonly kind: 'redirect';
  readonly status: number;
  location(headers: RequestHeaderMap, context: HeaderFormatContext): string;
}

export type RouteActionEntry = ForwardAction | DirectAction | RedirectAction;

/** What the virtual host gives to all its routes. */
export interface VirtualHostInfo {
  readonly name: string;
  readonly includeAttemptCount: boolean;
  readonly includeAttemptCountInResponse: boolean;
  readonly includeIsTimeoutRetry: boolean;
  readonly rateLimits: readonly RateLimitPolicy[];
}

/** Configuration of filters for a route: value by filter name, and which filters are switched off or on. */
export interface PerFilterConfigs {
  readonly values: ReadonlyMap<string, unknown>;
  readonly disabled: ReadonlyMap<string, boolean>;
}

export interface RouteEntryParts {
  readonly name: string;
  readonly clusterName: string;
  /** Header that names the cluster; empty when `clusterName` does. */
  readonly clusterHeader: string;
  readonly action: RouteActionEntry;
  readonly virtualHost: VirtualHostInfo;
  readonly metadata: Metadata | undefined;
  /** Most specific first. */
  readonly filterConfigs: readonly PerFilterConfigs[];
  /** In the order in which they apply. */
  readonly requestRules: readonly HeaderRules[];
  readonly responseRules: readonly HeaderRules[];
  /** Largest request body kept for retries, bytes; undefined takes the connection's limit. */
  readonly retryBufferLimit: number | undefined;
  /** `decorator.operation`; empty without one. */
  readonly operation: string;
  /** `decorator.propagate`. Default true. */
  readonly propagatesOperation: boolean;
  /** `RouteAction.rate_limits`. */
  readonly rateLimits: readonly RateLimitPolicy[];
  /** `include_vh_rate_limits`. */
  readonly includeHostRateLimits: boolean;
}

/** Immutable; one per route and weighted cluster. */
export class RouteEntry implements FilterRoute {
  readonly name: string;
  readonly clusterName: string;
  readonly action: RouteActionEntry;
  readonly virtualHost: VirtualHostInfo;
  readonly metadata: Metadata | undefined;
  readonly retryBufferLimit: number | undefined;
  readonly operation: string;
  readonly propagatesOperation: boolean;
  readonly rateLimits: readonly RateLimitPolicy[];
  readonly includeHostRateLimits: boolean;
  readonly #parts: RouteEntryParts;
  readonly hasRequestRules: boolean;
  readonly hasResponseRules: boolean;

  constructor(parts: RouteEntryParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.clusterName = parts.clusterName;
    this.action = parts.action;
    this.virtualHost = parts.virtualHost;
    this.metadata = parts.metadata;
    this.retryBufferLimit = parts.retryBufferLimit;
    this.propagatesOperation = parts.propagatesOperation;
    this.operation = parts.operation;
    this.rateLimits = parts.rateLimits;
    this.includeHostRateLimits = parts.includeHostRateLimits;
    this.hasRequestRules = parts.requestRules.length > 0;
    this.hasResponseRules = parts.responseRules.length > 0;
  }

  perFilterConfig(filterName: string): unknown {
    for (const configs of this.#parts.filterConfigs) {
      const value = configs.values.get(filterName);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** Configurations of all levels, the most specific last. */
  perFilterConfigs(filterName: string): readonly unknown[] {
    const found: unknown[] = [];
    for (const configs of this.#parts.filterConfigs) {
      const value = configs.values.get(filterName);
      if (value !== undefined) found.unshift(value);
    }
    return found;
  }

  /** True or false when a level of the route says so, undefined when none does. */
  filterDisabled(filterName: string): boolean | undefined {
    for (const configs of this.#parts.filterConfigs) {
      const value = configs.disabled.get(filterName);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  applyRequestRules(headers: RequestHeaderMap, info: StreamInfo): void {
    const context: HeaderFormatContext = { info, request: headers, response: undefined };
    for (const rules of this.#parts.requestRules) rules.apply(headers, context);
  }

  applyResponseRules(headers: HeaderMap, request: RequestHeaderMap, info: StreamInfo): void {
    const context: HeaderFormatContext = { info, request, response: headers };
    for (const rules of this.#parts.responseRules) rules.apply(headers, context);
  }

  /** The entry for this request: with `cluster_header` the cluster's name is in the request. */
  resolve(headers: RequestHeaderMap): RouteEntry {
    const { clusterHeader } = this.#parts;
    if (clusterHeader === '') return this;
    return new RouteEntry({
      ...this.#parts,
      clusterHeader: '',
      clusterName: headers.get(clusterHeader) ?? '',
    });
  }
}
