/** `envoy.filters.http.cors`: answers CORS preflights and marks responses, by the policy of the route (Fetch standard). */
import type { CorsPolicy } from '#api/gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts';
import type { Counter } from '#telemetry/metrics.ts';
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { compileStringMatcher, type StringPredicate } from '../../../http/string_matcher.ts';
import type { RuntimeValues } from '../../../network/runtime.ts';
import { compileShare, type Share } from '../../../network/runtime_fraction.ts';

/** A `CorsPolicy` ready to run; empty texts stand for headers that are not sent. */
export interface CompiledCorsPolicy {
  /** True when a matcher takes `*`: any origin passes. */
  readonly anyOrigin: boolean;
  readonly origins: readonly StringPredicate[];
  readonly allowMethods: string;
  readonly allowHeaders: string;
  readonly exposeHeaders: string;
  readonly maxAge: string;
  readonly allowCredentials: boolean;
  readonly allowPrivateNetworkAccess: boolean;
  /** Default true: preflights of origins that do not match go to the upstream. */
  readonly forwardNotMatchingPreflights: boolean;
  /** Share of requests; 1 when absent. */
  readonly enabled: Share;
  /** Share of requests whose origin is only counted; 0 when absent. */
  readonly shadow: Share;
}

/** Throws Error for a matcher that cannot run. */
export function compileCorsPolicy(policy: CorsPolicy, runtime?: RuntimeValues): CompiledCorsPolicy {
  const origins = policy.allowOriginStringMatch.map((matcher, i) => {
    try {
      return compileStringMatcher(matcher);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`allow_origin_string_match[${i}]: ${why}`, { cause });
    }
  });
  return {
    anyOrigin: origins.some((matches) => matches('*')),
    origins,
    allowMethods: policy.allowMethods,
    allowHeaders: policy.allowHeaders,
    exposeHeaders: policy.exposeHeaders,
    maxAge: policy.maxAge,
    allowCredentials: policy.allowCredentials ?? false,
    allowPrivateNetworkAccess: policy.allowPrivateNetworkAccess ?? false,
    forwardNotMatchingPreflights: policy.forwardNotMatchingPreflights ?? true,
    enabled: compileShare(policy.filterEnabled, 1, runtime),
    shadow: compileShare(policy.shadowEnabled, 0, runtime),
  };
}

/** What the filters of one chain share. */
export interface CorsShared {
  /** Key of `typed_per_filter_config`. */
  readonly filterName: string;
  readonly originValid: Counter;
  readonly originInvalid: Counter;
  random(): number;
}

type Fields = (readonly [name: string, value: string])[];

/** Response headers of a preflight, besides those that every response to the origin gets. */
function preflightFields(policy: CompiledCorsPolicy, headers: RequestHeaderMap, method: string): Fields {
  const fields: Fields = [];
  const { allowMethods, allowHeaders, maxAge } = policy;
  if (policy.allowCredentials) fields.push(['access-control-allow-credentials', 'true']);
  if (allowMethods !== '')
    fields.push(['access-control-allow-methods', allowMethods === '*' ? method : allowMethods]);
  if (allowHeaders !== '')
    fields.push([
      'access-control-allow-headers',
      allowHeaders === '*' ? (headers.get('access-control-request-headers') ?? '') : allowHeaders,
    ]);
  if (maxAge !== '') fields.push(['access-control-max-age', maxAge]);
  if (
    policy.allowPrivateNetworkAccess &&
    headers.getFirst('access-control-request-private-network') === 'true'
  )
    fields.push(['access-control-allow-private-network', 'true']);
  return fields;
}

export class CorsFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: CorsShared;
  /** Set for requests from an origin that the policy allows. */
  #allowed: CompiledCorsPolicy | undefined = undefined;
  #origin = '';

  constructor(callbacks: FilterCallbacks, shared: CorsShared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const origin = headers.getFirst('origin');
    if (origin === undefined || origin === '') return FilterStatus.continue;
    const { filterName, originValid, originInvalid } = this.#shared;
    const route = this.#callbacks.route();
    // Redirects and direct responses name no cluster; CORS does not apply to them.
    if (route === undefined || route.clusterName === '') return FilterStatus.continue;
    const policy = route.perFilterConfig(filterName) as CompiledCorsPolicy | undefined;
    if (policy === undefined) return FilterStatus.continue;
    const enforced = this.#draw(policy.enabled());
    if (!enforced && !this.#draw(policy.shadow())) return FilterStatus.continue;
    const allowed = policy.anyOrigin || policy.origins.some((matches) => matches(origin));
    (allowed ? originValid : originInvalid).inc();
    if (!enforced) return FilterStatus.continue;
    if (allowed) {
      this.#allowed = policy;
      this.#origin = origin;
    }
    const method = headers.method === 'OPTIONS' ? headers.getFirst('access-control-request-method') : '';
    if (method === undefined || method === '' || (!allowed && policy.forwardNotMatchingPreflights))
      return FilterStatus.continue;
    this.#callbacks.sendLocalReply({
      status: 200,
      body: '',
      details: 'cors_response',
      flags: 0,
      headers: preflightFields(policy, headers, method),
    });
    return FilterStatus.stopIteration;
  }

  #draw(share: number): boolean {
    return share >= 1 || (share > 0 && this.#shared.random() < share);
  }

  encodeHeaders(headers: ResponseHeaderMap): FilterStatus {
    const policy = this.#allowed;
    if (policy === undefined) return FilterStatus.continue;
    headers.set('access-control-allow-origin', this.#origin);
    if (policy.allowCredentials) headers.set('access-control-allow-credentials', 'true');
    if (policy.exposeHeaders !== '') headers.set('access-control-expose-headers', policy.exposeHeaders);
    return FilterStatus.continue;
  }
}
