/** `envoy.config.core.v3.RuntimeFractionalPercent`: shares of requests that a runtime key may change. */
import type { RuntimeFractionalPercent } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  type FractionalPercent,
  FractionalPercent_DenominatorType as Denominator,
} from '#api/gen/envoy/type/v3/percent_pb.ts';
import type { RuntimeValues } from './runtime.ts';

/** A share of requests as it is now, 0 to 1. */
export type Share = () => number;

/** The share that a percentage stands for, 0 to 1; 0 when it is absent. */
export function fractionOf(percent: FractionalPercent | undefined): number {
  if (percent === undefined) return 0;
  const { denominator, numerator } = percent;
  const whole =
    denominator === Denominator.MILLION ? 1e6 : denominator === Denominator.TEN_THOUSAND ? 1e4 : 100;
  return Math.min(numerator / whole, 1);
}

/** What a key says, or else a constant. */
export function shareOf(key: string, fallback: number, runtime: RuntimeValues | undefined): Share {
  if (key === '' || runtime === undefined) return () => fallback;
  return () => runtime.share(key) ?? fallback;
}

/** @param absent share where there is no fraction. */
export function compileShare(
  fraction: RuntimeFractionalPercent | undefined,
  absent: number,
  runtime: RuntimeValues | undefined,
): Share {
  if (fraction === undefined) return () => absent;
  return shareOf(fraction.runtimeKey, fractionOf(fraction.defaultValue), runtime);
}
