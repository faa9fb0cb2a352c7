/** VirtualService (networking.istio.io/v1): where requests for a host go. Durations are Go durations (`1.5s`). */

/** `spec` of a VirtualService. */
export interface VirtualService {
  /** Hosts that the rules are for: DNS names, `*.` wildcards, short Kubernetes names, IP addresses or `*`. Required. */
  readonly hosts?: readonly string[];
  /** Gateways (`namespace/name` or `name`) that carry the rules; `mesh` is every sidecar. Absent: `[mesh]`. */
  readonly gateways?: readonly string[];
  /** Rules for HTTP, HTTP/2 and gRPC, and TLS that a gateway terminates; the first match wins. */
  readonly http?: readonly HTTPRoute[];
  /** Rules for TLS that passes through, chosen by SNI. */
  readonly tls?: readonly TLSRoute[];
  /** Rules for all other TCP. */
  readonly tcp?: readonly TCPRoute[];
  /** Namespaces that see this object: `.` (its own), `*` (all), or names. Absent: the mesh's default, all. */
  readonly exportTo?: readonly string[];
}

/** A service, or a part of it. */
export interface Destination {
  /** Name of the service in the registry; short names are completed with the rule's own namespace. Required. */
  readonly host: string;
  /** A subset of the service's DestinationRule. Absent: all endpoints. */
  readonly subset?: string;
  /** Port of the service. Absent: the service's only port, or the port of the request. */
  readonly port?: PortSelector;
}

/** A port by number. */
export interface PortSelector {
  /** 1 to 65535. */
  readonly number?: number;
}

/** One HTTP rule. Of route, redirect and directResponse exactly one stands; a delegate excludes all three. */
export interface HTTPRoute {
  /** Name for logs and dumps; joined with the name of the match. Absent: none. */
  readonly name?: string;
  /** Conditions; one of them must hold. Absent: every request. */
  readonly match?: readonly HTTPMatchRequest[];
  /** Where requests go, by weight. */
  readonly route?: readonly HTTPRouteDestination[];
  /** Answers with a redirect. */
  readonly redirect?: HTTPRedirect;
  /** Answers with a fixed response. */
  readonly directResponse?: HTTPDirectResponse;
  /** Takes the rules of another VirtualService, which has no hosts of its own. */
  readonly delegate?: Delegate;
  /** Changes path or authority before forwarding. Not with a redirect. */
  readonly rewrite?: HTTPRewrite;
  /** Limit for the whole request, retries included. Absent: none. */
  readonly timeout?: string;
  /** Retries. Absent: the mesh's default policy (2 attempts). */
  readonly retries?: HTTPRetry;
  /** Faults put in on the calling side; timeouts and retries do not apply to such requests. Absent: none. */
  readonly fault?: HTTPFaultInjection;
  /** Gets a copy of requests; its answers are dropped. Absent: none. Not together with mirrors. */
  readonly mirror?: Destination;
  /** Several mirrors, each with its share. */
  readonly mirrors?: readonly HTTPMirrorPolicy[];
  /** Deprecated: whole percent of requests to mirror. Absent: 100. */
  readonly mirrorPercent?: number;
  /** Share of requests to mirror. Absent: all. */
  readonly mirrorPercentage?: Percent;
  /** Cross-origin rules. Absent: none. */
  readonly corsPolicy?: CorsPolicy;
  /** Header changes for all destinations of the rule. Absent: none. */
  readonly headers?: Headers;
}

/** Another VirtualService by name. */
export interface Delegate {
  readonly name?: string;
  /** Absent: the namespace of the object that delegates. */
  readonly namespace?: string;
}

/** Header changes, by direction. */
export interface Headers {
  /** On the way to the destination. */
  readonly request?: HeaderOperations;
  /** On the way back to the caller. */
  readonly response?: HeaderOperations;
}

/** Changes in this order: remove, set, add. */
export interface HeaderOperations {
  /** Replaces the value, or creates the header. */
  readonly set?: Readonly<Record<string, string>>;
  /** Appends a value. */
  readonly add?: Readonly<Record<string, string>>;
  /** Names to drop. */
  readonly remove?: readonly string[];
}

/** One rule for TLS that passes through. */
export interface TLSRoute {
  /** Conditions; one must hold. Required. */
  readonly match?: readonly TLSMatchAttributes[];
  /** Where connections go, by weight. */
  readonly route?: readonly RouteDestination[];
}

/** One rule for TCP. */
export interface TCPRoute {
  /** Conditions; one must hold. Absent: every connection. */
  readonly match?: readonly L4MatchAttributes[];
  /** Where connections go, by weight. */
  readonly route?: readonly RouteDestination[];
}

/** Conditions on a request; all that are given must hold. */
export interface HTTPMatchRequest {
  /** Name for logs and dumps. Absent: none. */
  readonly name?: string;
  /** Path, without the query. Case-sensitive unless ignoreUriCase. */
  readonly uri?: StringMatch;
  /** `http` or `https`. */
  readonly scheme?: StringMatch;
  readonly method?: StringMatch;
  /** Host header or `:authority`. */
  readonly authority?: StringMatch;
  /** Headers by lower-case name; an empty match asks for presence. Not for uri, scheme, method, authority. */
  readonly headers?: Readonly<Record<string, StringMatch>>;
  /** Port that the caller asked for. Absent or 0: any. */
  readonly port?: number;
  /** Labels of the calling workload; only for `mesh`. */
  readonly sourceLabels?: Readonly<Record<string, string>>;
  /** Narrows the object's gateways for this condition. Absent: the object's. */
  readonly gateways?: readonly string[];
  /** Query parameters; prefix is not supported. An empty match asks for presence. */
  readonly queryParams?: Readonly<Record<string, StringMatch>>;
  /** Applies to exact and prefix of uri. Absent: false. */
  readonly ignoreUriCase?: boolean;
  /** Headers that must not match. */
  readonly withoutHeaders?: Readonly<Record<string, StringMatch>>;
  /** Namespace of the calling workload; only for `mesh`. */
  readonly sourceNamespace?: string;
  /** Prefix of statistics kept for this route. Absent: none are kept. */
  readonly statPrefix?: string;
}

/** One HTTP destination and its share. */
export interface HTTPRouteDestination {
  /** Required. */
  readonly destination?: Destination;
  /** Share, relative to the sum of the rule. Absent: 0, or everything when it stands alone. */
  readonly weight?: number;
  /** Header changes for this destination, after those of the rule. */
  readonly headers?: Headers;
}

/** One TCP or TLS destination and its share. */
export interface RouteDestination {
  /** Required. */
  readonly destination?: Destination;
  /** Share, relative to the sum of the rule. Absent: 0, or everything when it stands alone. */
  readonly weight?: number;
}

/** Conditions on a TCP connection; all that are given must hold. */
export interface L4MatchAttributes {
  /** Addresses that the connection asked for, with or without a mask. */
  readonly destinationSubnets?: readonly string[];
  /** Port that the connection asked for. */
  readonly port?: number;
  /** Address of the caller; has no effect in Istio's implementation. */
  readonly sourceSubnet?: string;
  readonly sourceLabels?: Readonly<Record<string, string>>;
  readonly gateways?: readonly string[];
  readonly sourceNamespace?: string;
}

/** Conditions on a TLS connection; all that are given must hold. */
export interface TLSMatchAttributes {
  /** Server names, wildcards allowed; each must lie within a host of the object. Required. */
  readonly sniHosts?: readonly string[];
  readonly destinationSubnets?: readonly string[];
  readonly port?: number;
  readonly sourceLabels?: Readonly<Record<string, string>>;
  readonly gateways?: readonly string[];
  readonly sourceNamespace?: string;
}

/** A redirect. Fields left out keep the request's value. */
export interface HTTPRedirect {
  /** Replaces the whole path. Not with prefixRewrite. */
  readonly uri?: string;
  readonly authority?: string;
  /** Port of the location. Not with derivePort. */
  readonly port?: number;
  /** FROM_PROTOCOL_DEFAULT: 80 or 443; FROM_REQUEST_PORT: as asked. Absent, and no port: as Envoy decides by scheme. */
  readonly derivePort?: RedirectPortSelection;
  readonly scheme?: string;
  /** 301, 302, 303, 307 or 308. Absent: 301. */
  readonly redirectCode?: number;
  /** Replaces the part of the path that a prefix matched. */
  readonly prefixRewrite?: string;
}

export type RedirectPortSelection = 'FROM_PROTOCOL_DEFAULT' | 'FROM_REQUEST_PORT';

/** A fixed answer. */
export interface HTTPDirectResponse {
  /** Status code. Required. */
  readonly status?: number;
  /** Absent: an empty body. */
  readonly body?: HTTPBody;
}

/** A body: one of both. At most 1 MiB. */
export interface HTTPBody {
  readonly string?: string;
  /** Base64. */
  readonly bytes?: string;
}

/** Changes before forwarding. */
export interface HTTPRewrite {
  /** Replaces the path, or the part of it that a prefix matched. */
  readonly uri?: string;
  readonly authority?: string;
  /** Replaces by regular expression. Not with uri. */
  readonly uriRegexRewrite?: RegexRewrite;
}

/** Replacement by regular expression (RE2). */
export interface RegexRewrite {
  readonly match?: string;
  /** `\1` and so on stand for groups. */
  readonly rewrite?: string;
}

/** One of three ways to match; none of them asks for presence only. */
export interface StringMatch {
  readonly exact?: string;
  readonly prefix?: string;
  /** RE2; must match the whole value. */
  readonly regex?: string;
}

/** Retries of one rule. */
export interface HTTPRetry {
  /** Attempts after the first. 0: no retries. */
  readonly attempts?: number;
  /** Limit for each attempt, at least 1ms. Absent: the route's timeout. */
  readonly perTryTimeout?: string;
  /** Envoy's retry conditions and gRPC's, comma-separated; status codes allowed. Absent: the mesh's default. */
  readonly retryOn?: string;
  /** Whether other localities may be tried. Absent: false. */
  readonly retryRemoteLocalities?: boolean;
  /** Whether hosts already tried are avoided. Absent: true. */
  readonly retryIgnorePreviousHosts?: boolean;
  /** Base of the exponential backoff. Absent: 25ms. */
  readonly backoff?: string;
}

/** Cross-origin rules. */
export interface CorsPolicy {
  /** Deprecated: exact origins. */
  readonly allowOrigin?: readonly string[];
  readonly allowOrigins?: readonly StringMatch[];
  readonly allowMethods?: readonly string[];
  readonly allowHeaders?: readonly string[];
  readonly exposeHeaders?: readonly string[];
  /** How long a preflight answer may be kept; whole seconds. */
  readonly maxAge?: string;
  readonly allowCredentials?: boolean;
  /** What becomes of preflights that match no origin. Absent: FORWARD. */
  readonly unmatchedPreflights?: UnmatchedPreflights;
}

export type UnmatchedPreflights = 'UNSPECIFIED' | 'FORWARD' | 'IGNORE';

/** Faults; at least one. */
export interface HTTPFaultInjection {
  readonly delay?: FaultDelay;
  readonly abort?: FaultAbort;
}

/** Holds requests back. */
export interface FaultDelay {
  /** Deprecated: whole percent. */
  readonly percent?: number;
  /** At least 1ms. Required. */
  readonly fixedDelay?: string;
  /** Not implemented by Istio; refused. */
  readonly exponentialDelay?: string;
  /** Share of requests. Absent: none, as 0. */
  readonly percentage?: Percent;
}

/** Answers requests with an error. One of the statuses. */
export interface FaultAbort {
  /** 200 to 599. */
  readonly httpStatus?: number;
  /** Name of a gRPC code, `UNAVAILABLE`. */
  readonly grpcStatus?: string;
  /** Not implemented by Istio; refused. */
  readonly http2Error?: string;
  /** Share of requests. Absent: all. */
  readonly percentage?: Percent;
}

/** A mirror and its share. */
export interface HTTPMirrorPolicy {
  /** Required. */
  readonly destination?: Destination;
  /** Absent: all. */
  readonly percentage?: Percent;
}

/** A share. */
export interface Percent {
  /** 0 to 100, fractions allowed. Absent: 0. */
  readonly value?: number;
}
