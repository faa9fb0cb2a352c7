/** Lines of the health check event log: envoy.data.core.v3.HealthCheckEvent as JSON, one object a line. */
import type { UpstreamHost } from '../host.ts';
import type { FailureType } from './probe.ts';

/** What happened to a host. */
export type HealthEvent =
  | { readonly kind: 'eject_unhealthy_event'; readonly type: FailureType; readonly status: number }
  | { readonly kind: 'add_healthy_event'; readonly firstCheck: boolean }
  | { readonly kind: 'successful_health_check_event' }
  | {
      readonly kind: 'health_check_failure_event';
      readonly type: FailureType;
      readonly firstCheck: boolean;
      readonly status: number;
    }
  | { readonly kind: 'degraded_healthy_host' }
  | { readonly kind: 'no_longer_degraded_host' };

function details(event: HealthEvent): object {
  switch (event.kind) {
    case 'eject_unhealthy_event':
      return { failure_type: event.type, http_status_code: String(event.status) };
    case 'add_healthy_event':
      return { first_check: event.firstCheck };
    case 'health_check_failure_event':
      return {
        failure_type: event.type,
        first_check: event.firstCheck,
        http_status_code: String(event.status),
      };
    default:
      return {};
  }
}

export function healthEventLine(
  cluster: string,
  checker: 'HTTP' | 'TCP' | 'GRPC',
  host: UpstreamHost,
  event: HealthEvent,
  now: Date,
): string {
  const { ip, port } = host.address;
  const { region, zone, subZone } = host.locality;
  return `${JSON.stringify({
    health_checker_type: checker,
    host:
      port < 0
        ? { pipe: { path: ip, mode: 0 } }
        : {
            socket_address: {
              protocol: 'TCP',
              address: ip,
              port_value: port,
              resolver_name: '',
              ipv4_compat: false,
            },
          },
    cluster_name: cluster,
    [event.kind]: details(event),
    timestamp: now.toISOString(),
    locality: { region, zone, sub_zone: subZone },
  })}\n`;
}
