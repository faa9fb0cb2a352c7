/** What is compiled in, as `Node.extensions` tells it to the control plane. */
import type { ExtensionKind, ExtensionRegistry } from '../registry.ts';
import type { ExtensionName } from './messages.ts';

/** Envoy's categories of our kinds. */
const categories: Readonly<Record<ExtensionKind, string>> = {
  listener_filter: 'envoy.filters.listener',
  network_filter: 'envoy.filters.network',
  http_filter: 'envoy.filters.http',
  'transport_socket.downstream': 'envoy.transport_sockets.downstream',
  'transport_socket.upstream': 'envoy.transport_sockets.upstream',
  load_balancing_policy: 'envoy.load_balancing_policies',
  access_logger: 'envoy.access_loggers',
  access_log_filter: 'envoy.access_loggers.extension_filters',
  retry_host_predicate: 'envoy.retry_host_predicates',
  retry_priority: 'envoy.retry_priorities',
  request_id: 'envoy.request_id',
  tracer: 'envoy.tracers',
  upstream_options: 'envoy.upstream_options',
  formatter: 'envoy.formatter',
};

export function extensionNames(registry: ExtensionRegistry): ExtensionName[] {
  return registry.all().map(({ kind, factory }) => ({
    category: categories[kind],
    name: factory.name,
    typeUrls: factory.typeUrls,
  }));
}
