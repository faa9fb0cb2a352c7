/** Lines of the outlier event log: envoy.data.cluster.v3.OutlierDetectionEvent as JSON, one object a line. */
import { formatAddress } from '../network/address.ts';
import type { UpstreamHost } from './host.ts';
import type { EjectionType } from './outlier_options.ts';

/** Takes whole lines, with the line end. */
export type EventLog = (line: string) => void;

/** What success-rate and failure-percentage ejections were decided by, percent. */
export interface RateDetails {
  readonly hostRate: number;
  readonly averageRate: number;
  readonly threshold: number;
}

function details(type: EjectionType | 'DEGRADED', rate: RateDetails | undefined): object {
  if (type.startsWith('SUCCESS_RATE'))
    return {
      eject_success_rate_event: {
        host_success_rate: Math.floor(rate?.hostRate ?? 0),
        cluster_average_success_rate: Math.floor(rate?.averageRate ?? 0),
        cluster_success_rate_ejection_threshold: Math.floor(rate?.threshold ?? 0),
      },
    };
  if (type.startsWith('FAILURE_PERCENTAGE'))
    return { eject_failure_percentage_event: { host_success_rate: Math.floor(rate?.hostRate ?? 0) } };
  return { eject_consecutive_event: {} };
}

/**
 * The line of an ejection, or of a return when `type` is undefined.
 * @param sinceMs milliseconds since the host was last taken out or brought back; undefined when never
 */
export function eventLine(
  cluster: string,
  host: UpstreamHost,
  type: EjectionType | 'DEGRADED' | undefined,
  event: {
    readonly ejections: number;
    readonly enforced: boolean;
    readonly sinceMs: number | undefined;
    readonly rate?: RateDetails | undefined;
  },
  now: Date,
): string {
  return `${JSON.stringify({
    type: type ?? 'CONSECUTIVE_5XX',
    cluster_name: cluster,
    upstream_url: formatAddress(host.address),
    action: type === undefined ? 'UNEJECT' : 'EJECT',
    num_ejections: event.ejections,
    enforced: event.enforced,
    ...(type === undefined ? {} : details(type, event.rate)),
    timestamp: now.toISOString(),
    ...(event.sinceMs === undefined
      ? {}
      : { secs_since_last_action: String(Math.floor(event.sinceMs / 1000)) }),
  })}\n`;
}
