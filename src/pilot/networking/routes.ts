/** RDS: the route configurations that listeners of a proxy ask for. */
import type { RouteConfiguration } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import type { Proxy } from '../model/proxy.ts';
import { outboundView } from '../model/proxy_view.ts';
import type { PushContext } from '../model/push_context.ts';
import { gatewayRoute } from './route/gateway_route.ts';
import { sidecarRoute } from './route/sidecar_route.ts';

/**
 * The named route configurations; names that stand for nothing are left out. Messages are shared between calls and
 * proxies: do not change them.
 */
export function buildRoutes(proxy: Proxy, push: PushContext, names: readonly string[]): RouteConfiguration[] {
  const build = (name: string) =>
    proxy.type === 'router'
      ? gatewayRoute(push, proxy, name)
      : sidecarRoute(push, outboundView(push, proxy), name);
  return names.map(build).filter((route) => route !== undefined);
}
