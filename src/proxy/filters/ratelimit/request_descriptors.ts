/** Which descriptors a request has for one filter: those of its route, of its virtual host, or of the filter itself. */
import type { RequestHeaderMap } from '../../http/header_map.ts';
import type { Descriptor, DescriptorInput, RateLimitPolicy } from '../../router/rate_limit_policy.ts';
import type { RouteEntry } from '../../router/route_entry.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';

/** Policies of virtual hosts: `override` leaves them out when the route has its own, `include` takes both. */
export type HostPolicies = 'override' | 'include' | 'ignore';

/** `VhRateLimitsOptions`, and `vh_rate_limits` of the filters. */
export function hostPoliciesOf(option: number): HostPolicies {
  return option === 1 ? 'include' : option === 2 ? 'ignore' : 'override';
}

/** What decides which policies count. */
export interface DescriptorSource {
  /** Policies of the filter or of its configuration for the route: they stand in place of all others. */
  readonly own: readonly RateLimitPolicy[];
  readonly stage: number;
  readonly hostPolicies: HostPolicies;
  readonly localCluster: string;
}

const none: readonly Descriptor[] = [];

function append(
  found: readonly Descriptor[],
  policies: readonly RateLimitPolicy[],
  stage: number,
  onStreamDone: boolean,
  input: DescriptorInput,
): readonly Descriptor[] {
  let out = found;
  for (let i = 0; i < policies.length; i++) {
    const policy = policies[i] as RateLimitPolicy;
    if (policy.stage !== stage || policy.onStreamDone !== onStreamDone) continue;
    const descriptor = policy.describe(input);
    if (descriptor === undefined) continue;
    out = out.length === 0 ? [descriptor] : [...out, descriptor];
  }
  return out;
}

/** @param onStreamDone asks for those that count when the response is complete. */
export function requestDescriptors(
  source: DescriptorSource,
  route: RouteEntry | undefined,
  headers: RequestHeaderMap,
  info: StreamInfo,
  onStreamDone = false,
): readonly Descriptor[] {
  const { own, stage, hostPolicies, localCluster } = source;
  if (own.length === 0 && (route === undefined || route.action.kind !== 'forward')) return none;
  const routePolicies = own.length > 0 ? own : (route?.rateLimits ?? []);
  const virtualHost = route?.virtualHost.rateLimits ?? [];
  if (routePolicies.length === 0 && virtualHost.length === 0) return none;
  const input: DescriptorInput = {
    headers,
    info,
    route: { clusterName: route?.clusterName ?? '', metadata: route?.metadata },
    localCluster,
  };
  const found = append(none, routePolicies, stage, onStreamDone, input);
  if (own.length > 0 || route === undefined || virtualHost.length === 0) return found;
  const takesHost =
    route.includeHostRateLimits ||
    hostPolicies === 'include' ||
    (hostPolicies === 'override' && routePolicies.length === 0);
  return takesHost ? append(found, virtualHost, stage, onStreamDone, input) : found;
}
