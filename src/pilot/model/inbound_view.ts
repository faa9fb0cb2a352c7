/** What inbound configuration depends on: the replicas of a workload share one view, as long as nothing is bound to an address. */
import { isIPv6 } from 'node:net';
import type { InterceptionMode } from '#config/mesh_config/proxy_config.ts';
import { type InboundPort, inboundPorts } from './inbound_port.ts';
import type { Labels } from './labels.ts';
import type { Proxy } from './proxy.ts';
import { type PrivateExtensions, privateExtensions, proxyLabels } from './proxy_view.ts';
import { memoize, type PushContext } from './push_context.ts';

/** What inbound configuration depends on. */
export interface InboundView {
  /** Unique among the views of a context. */
  readonly key: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly ports: readonly InboundPort[];
  readonly interceptionMode: InterceptionMode;
  readonly extensions: PrivateExtensions;
  readonly http10: boolean;
  readonly ipv6: boolean;
}

/** The inbound view of a sidecar. */
export function inboundView(push: PushContext, proxy: Proxy): InboundView {
  const parts = {
    namespace: proxy.namespace,
    labels: proxyLabels(push, proxy),
    ports: inboundPorts(push, proxy),
    interceptionMode: proxy.interceptionMode,
    extensions: privateExtensions(proxy),
    http10: proxy.http10,
    ipv6: isIPv6(proxy.ipAddresses[0] ?? ''),
  };
  const key = `inbound ${JSON.stringify(parts, (name, value: unknown) =>
    name === 'services' ? (value as InboundPort['services']).map(({ hostname }) => hostname) : value,
  )}`;
  return memoize(push, key, () => ({ key, ...parts }));
}
