/** Destinations of rules: which cluster they are, and which rule of the caller's holds for them. */
import { buildClusterName } from '#api/cluster_name.ts';
import type { ConsistentHashLB } from '#config/kinds/destination_rule/types.ts';
import type { Destination } from '#config/kinds/virtual_service/types.ts';
import { effectivePolicy } from '../../model/destination_rule_index.ts';
import { resolveHost } from '../../model/hosts.ts';
import type { OutboundView } from '../../model/proxy_view.ts';
import type { PushContext } from '../../model/push_context.ts';
import type { Service } from '../../model/service.ts';

/** What names in a rule are resolved against. */
export interface DestinationContext {
  readonly push: PushContext;
  readonly view: OutboundView;
  /** Namespace of the object that names the destination. */
  readonly namespace: string;
  /** Port of the listener, or of the service that was asked for. */
  readonly listenPort: number;
}

/** A destination that is found, or at least named. */
export interface ResolvedDestination {
  readonly cluster: string;
  readonly host: string;
  readonly port: number;
  readonly service: Service | undefined;
  /** Hash that the load balancer of the destination asks for. */
  readonly hash: ConsistentHashLB | undefined;
}

/**
 * Resolves a destination. Without a port it is the only port of the service, else the port that was asked for. A service
 * that nobody knows still gives a cluster name; the proxy answers such requests with 503 NC.
 */
export function resolveDestination(
  destination: Destination,
  context: DestinationContext,
): ResolvedDestination {
  const { push, view } = context;
  const host = resolveHost(destination.host, context.namespace, push.mesh.domainSuffix);
  const service = view.scope.byHostname.get(host);
  const port =
    destination.port?.number ??
    (service?.ports.length === 1 ? service.ports[0]?.port : undefined) ??
    context.listenPort;
  const subset = destination.subset ?? '';
  const rule = service === undefined ? undefined : view.scope.destinationRule(service, view.labels);
  const policy = effectivePolicy(
    rule,
    rule?.subsets.find(({ name }) => name === subset),
    port,
  );
  return {
    cluster: buildClusterName({ direction: 'outbound', port, subset, host }),
    host,
    port,
    service,
    hash: policy.loadBalancer?.consistentHash,
  };
}
