/** `x-ratelimit-*` of draft-polli-ratelimit-headers-03, from what a rate limit service says of each descriptor. */
import {
  type RateLimitResponse_DescriptorStatus as DescriptorStatus,
  RateLimitResponse_RateLimit_Unit as Unit,
} from '#api/gen/envoy/service/ratelimit/v3/rls_pb.ts';

const seconds: Readonly<Record<number, number>> = {
  [Unit.SECOND]: 1,
  [Unit.MINUTE]: 60,
  [Unit.HOUR]: 3600,
  [Unit.DAY]: 86_400,
  [Unit.WEEK]: 604_800,
  [Unit.MONTH]: 2_592_000,
  [Unit.YEAR]: 31_536_000,
};

/** Headers of the descriptor with the least left; none when no descriptor has a limit. */
export function xRateLimitHeaders(
  statuses: readonly DescriptorStatus[],
): readonly (readonly [name: string, value: string])[] {
  let least: DescriptorStatus | undefined;
  let policies = '';
  for (const status of statuses) {
    const limit = status.currentLimit;
    if (limit === undefined) continue;
    if (least === undefined || status.limitRemaining < least.limitRemaining) least = status;
    const window = (seconds[limit.unit] ?? 0) * (limit.unitMultiplier ?? 1);
    if (window === 0) continue;
    policies += `, ${limit.requestsPerUnit};w=${window}`;
    // The name is the service's: what would end the quotes is left out.
    if (limit.name !== '') policies += `;name="${limit.name.replace(/[^\x20-\x7e]|["\\]/g, '')}"`;
  }
  if (least === undefined) return [];
  return [
    ['x-ratelimit-limit', `${least.currentLimit?.requestsPerUnit ?? 0}${policies}`],
    ['x-ratelimit-remaining', String(least.limitRemaining)],
    ['x-ratelimit-reset', String(least.durationUntilReset?.seconds ?? 0n)],
  ];
}
