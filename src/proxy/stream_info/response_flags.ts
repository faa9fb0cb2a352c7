/** Envoy's response flags as bits (envoy StreamInfo::CoreResponseFlag) and their short names in the access log. */

export const ResponseFlag = {
  none: 0,
  failedLocalHealthCheck: 1 << 0,
  noHealthyUpstream: 1 << 1,
  upstreamRequestTimeout: 1 << 2,
  localReset: 1 << 3,
  upstreamRemoteReset: 1 << 4,
  upstreamConnectionFailure: 1 << 5,
  upstreamConnectionTermination: 1 << 6,
  upstreamOverflow: 1 << 7,
  noRouteFound: 1 << 8,
  delayInjected: 1 << 9,
  faultInjected: 1 << 10,
  rateLimited: 1 << 11,
  unauthorizedExternalService: 1 << 12,
  rateLimitServiceError: 1 << 13,
  downstreamConnectionTermination: 1 << 14,
  upstreamRetryLimitExceeded: 1 << 15,
  streamIdleTimeout: 1 << 16,
  invalidEnvoyRequestHeaders: 1 << 17,
  downstreamProtocolError: 1 << 18,
  upstreamMaxStreamDurationReached: 1 << 19,
  responseFromCacheFilter: 1 << 20,
  noFilterConfigFound: 1 << 21,
  durationTimeout: 1 << 22,
  upstreamProtocolError: 1 << 23,
  noClusterFound: 1 << 24,
  overloadManager: 1 << 25,
  dnsResolutionFailed: 1 << 26,
  dropOverload: 1 << 27,
  downstreamRemoteReset: 1 << 28,
  /** URX of tcp_proxy, which is set behind the failure of the last attempt and so is printed behind it. */
  connectAttemptsExceeded: 1 << 29,
  unconditionalDropOverload: 1 << 30,
} as const;

/** A set of flags: bits of `ResponseFlag`. */
export type ResponseFlags = number;

// Envoy prints flags in the order in which they were set; URX is set before the failure of the last attempt.
const names: readonly (readonly [number, string, string])[] = [
  [ResponseFlag.upstreamRetryLimitExceeded, 'URX', 'UpstreamRetryLimitExceeded'],
  [ResponseFlag.failedLocalHealthCheck, 'LH', 'FailedLocalHealthCheck'],
  [ResponseFlag.noHealthyUpstream, 'UH', 'NoHealthyUpstream'],
  [ResponseFlag.upstreamRequestTimeout, 'UT', 'UpstreamRequestTimeout'],
  [ResponseFlag.localReset, 'LR', 'LocalReset'],
  [ResponseFlag.upstreamRemoteReset, 'UR', 'UpstreamRemoteReset'],
  [ResponseFlag.upstreamConnectionFailure, 'UF', 'UpstreamConnectionFailure'],
  [ResponseFlag.upstreamConnectionTermination, 'UC', 'UpstreamConnectionTermination'],
  [ResponseFlag.upstreamOverflow, 'UO', 'UpstreamOverflow'],
  [ResponseFlag.noRouteFound, 'NR', 'NoRouteFound'],
  [ResponseFlag.delayInjected, 'DI', 'DelayInjected'],
  [ResponseFlag.faultInjected, 'FI', 'FaultInjected'],
  [ResponseFlag.rateLimited, 'RL', 'RateLimited'],
  [ResponseFlag.unauthorizedExternalService, 'UAEX', 'UnauthorizedExternalService'],
  [ResponseFlag.rateLimitServiceError, 'RLSE', 'RateLimitServiceError'],
  [ResponseFlag.downstreamConnectionTermination, 'DC', 'DownstreamConnectionTermination'],
  [ResponseFlag.streamIdleTimeout, 'SI', 'StreamIdleTimeout'],
  [ResponseFlag.invalidEnvoyRequestHeaders, 'IH', 'InvalidEnvoyRequestHeaders'],
  [ResponseFlag.downstreamProtocolError, 'DPE', 'DownstreamProtocolError'],
  [ResponseFlag.upstreamMaxStreamDurationReached, 'UMSDR', 'UpstreamMaxStreamDurationReached'],
  [ResponseFlag.responseFromCacheFilter, 'RFCF', 'ResponseFromCacheFilter'],
  [ResponseFlag.noFilterConfigFound, 'NFCF', 'NoFilterConfigFound'],
  [ResponseFlag.durationTimeout, 'DT', 'DurationTimeout'],
  [ResponseFlag.upstreamProtocolError, 'UPE', 'UpstreamProtocolError'],
  [ResponseFlag.noClusterFound, 'NC', 'NoClusterFound'],
  [ResponseFlag.overloadManager, 'OM', 'OverloadManagerTerminated'],
  [ResponseFlag.dnsResolutionFailed, 'DF', 'DnsResolutionFailed'],
  [ResponseFlag.dropOverload, 'DO', 'DropOverload'],
  [ResponseFlag.unconditionalDropOverload, 'UDO', 'UnconditionalDropOverload'],
  [ResponseFlag.downstreamRemoteReset, 'DR', 'DownstreamRemoteReset'],
  [ResponseFlag.connectAttemptsExceeded, 'URX', 'UpstreamRetryLimitExceeded'],
];

/** `-` for none, else short names joined by commas in Envoy's order. */
export function formatResponseFlags(flags: ResponseFlags): string {
  if (flags === 0) return '-';
  let text = '';
  for (const [bit, short] of names) if ((flags & bit) !== 0) text += text === '' ? short : `,${short}`;
  return text;
}

/** As `formatResponseFlags`, with the long names (`%RESPONSE_FLAGS_LONG%`). */
export function formatResponseFlagsLong(flags: ResponseFlags): string {
  if (flags === 0) return '-';
  let text = '';
  for (const [bit, , long] of names) if ((flags & bit) !== 0) text += text === '' ? long : `,${long}`;
  return text;
}
