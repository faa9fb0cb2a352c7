/** `envoy.filters.http.csrf`: refuses requests that change something and come from another site's page. */
import { fromBinary } from '@bufbuild/protobuf';
import { type CsrfPolicy, CsrfPolicySchema } from '#api/gen/envoy/extensions/filters/http/csrf/v3/csrf_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { Counter } from '#telemetry/metrics.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { compileStringMatcher, type StringPredicate } from '../../../http/string_matcher.ts';
import type { RuntimeValues } from '../../../network/runtime.ts';
import { compileShare, type Share } from '../../../network/runtime_fraction.ts';

interface Policy {
  readonly enabled: Share;
  readonly shadow: Share;
  readonly origins: readonly StringPredicate[];
}

interface Shared {
  readonly policy: Policy;
  readonly filterName: string;
  readonly missing: Counter;
  readonly valid: Counter;
  readonly invalid: Counter;
  random(): number;
}

/** @throws Error for a matcher that cannot run. */
export function compileCsrf(proto: CsrfPolicy, runtime?: RuntimeValues): Policy {
  if (proto.filterEnabled === undefined) throw new Error('filter_enabled is missing');
  return {
    enabled: compileShare(proto.filterEnabled, 1, runtime),
    shadow: compileShare(proto.shadowEnabled, 0, runtime),
    origins: proto.additionalOrigins.map(compileStringMatcher),
  };
}

const changing: ReadonlySet<string> = new Set(['POST', 'PUT', 'DELETE', 'PATCH']);

/** `host:port` of a URL; empty for what is none. */
function hostOf(text: string): string {
  return /^https?:\/\/([^/?#]*)/i.exec(text)?.[1] ?? '';
}

/** Where the request comes from: `origin`, else `referer`. A page that hides its origin ("null") comes from nowhere. */
function sourceOf(headers: RequestHeaderMap): string {
  const origin = headers.getFirst('origin') ?? '';
  return hostOf(origin !== '' ? origin : (headers.getFirst('referer') ?? ''));
}

class CsrfFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: Shared;

  constructor(callbacks: FilterCallbacks, shared: Shared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
  }

  #draw(share: number): boolean {
    return share >= 1 || (share > 0 && this.#shared.random() < share);
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const { filterName, missing, valid, invalid, policy: own } = this.#shared;
    const policy = (this.#callbacks.route()?.perFilterConfig(filterName) as Policy | undefined) ?? own;
    const enforced = this.#draw(policy.enabled());
    if ((!enforced && !this.#draw(policy.shadow())) || !changing.has(headers.method))
      return FilterStatus.continue;
    const source = sourceOf(headers);
    if (source === '') missing.value++;
    else if (source === headers.authority || policy.origins.some((matches) => matches(source))) {
      valid.value++;
      return FilterStatus.continue;
    } else invalid.value++;
    if (!enforced) return FilterStatus.continue;
    this.#callbacks.sendLocalReply({
      status: 403,
      body: 'Invalid origin',
      details: 'csrf_origin_mismatch',
      flags: 0,
    });
    return FilterStatus.stopIteration;
  }
}

export const csrf = {
  name: 'envoy.filters.http.csrf',
  typeUrls: [typeUrlOf(CsrfPolicySchema)],
  create(config, context, filterName) {
    const counter = (name: string): Counter =>
      context.metrics.counter(`envoy_http_csrf_${name}`, {
        envoy_http_conn_manager_prefix: context.statPrefix ?? '',
      });
    const shared: Shared = {
      policy: compileCsrf(fromBinary(CsrfPolicySchema, config.value), context.runtime),
      filterName,
      missing: counter('missing_source_origin'),
      valid: counter('request_valid'),
      invalid: counter('request_invalid'),
      random: () => context.random(),
    };
    return { createFilter: (callbacks) => new CsrfFilter(callbacks, shared) };
  },
  createRouteConfig: (config, context) =>
    compileCsrf(fromBinary(CsrfPolicySchema, config.value), context.runtime),
} as const satisfies HttpFilterExtension;
