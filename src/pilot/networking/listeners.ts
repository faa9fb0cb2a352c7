/** LDS: the listeners of a proxy. */
import type { Listener } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { inboundView } from '../model/inbound_view.ts';
import type { Proxy } from '../model/proxy.ts';
import { outboundView } from '../model/proxy_view.ts';
import { memoize, type PushContext } from '../model/push_context.ts';
import { gatewayListeners } from './listener/gateway_listener.ts';
import { httpProxyListener } from './listener/http_proxy_listener.ts';
import { inboundListeners } from './listener/inbound_listener.ts';
import { outboundListeners, virtualOutbound } from './listener/outbound_listener.ts';

/** All listeners of a proxy. Messages are shared between calls and proxies: do not change them. */
export function buildListeners(proxy: Proxy, push: PushContext): Listener[] {
  if (proxy.type === 'router') return gatewayListeners(push, proxy);
  const view = outboundView(push, proxy);
  const listeners = [...outboundListeners(push, view)];
  if (proxy.interceptionMode !== 'NONE') {
    listeners.push(memoize(push, `virtualOutbound ${view.key}`, () => virtualOutbound(push, view)));
  }
  const explicitProxy = httpProxyListener(push, view, proxy);
  if (explicitProxy !== undefined) listeners.push(explicitProxy);
  return [...listeners, ...inboundListeners(push, inboundView(push, proxy))];
}
