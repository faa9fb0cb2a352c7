/** Outlier detection over an interval: which hosts succeed less often than the others (envoy SuccessRateMonitor). */

/** Requests of one host in the running interval. */
export interface RateBucket {
  total: number;
  success: number;
}

/** A host with enough requests to be judged, and its percentage of successes. */
export interface RatedHost<T> {
  readonly host: T;
  readonly rate: number;
}

/** Mean of the rates and the rate below which a host stands out, percent. */
export function ejectionThreshold(
  rates: readonly number[],
  stdevFactor: number,
): { readonly average: number; readonly threshold: number } {
  const average = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, rate) => sum + (rate - average) ** 2, 0) / rates.length;
  return { average, threshold: average - stdevFactor * Math.sqrt(variance) };
}
