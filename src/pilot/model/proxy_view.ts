/**
 * What builders read of a proxy. Proxies that a builder cannot tell apart have the same view object, so that its results are
 * made once: a view holds nothing but the parts of its key.
 */
import type { InterceptionMode } from '#config/mesh_config/proxy_config.ts';
import { findPod } from './endpoint_index.ts';
import { labelFingerprint, type Labels } from './labels.ts';
import type { Proxy, ProxyType } from './proxy.ts';
import { buildProxyScope, type ProxyScope } from './proxy_scope.ts';
import { memoize, type PushContext } from './push_context.ts';
import { sidecarFor } from './sidecar_index.ts';

/** Networks extensions that only Istio's Envoy and our data plane have. */
export interface PrivateExtensions {
  /** Statistics of TCP connections: network filter `istio.stats`. */
  readonly tcpStats: boolean;
  /** Peer metadata on TCP: network filter `istio.metadata_exchange`. */
  readonly tcpMetadataExchange: boolean;
}

/** What outbound configuration depends on. */
export interface OutboundView {
  /** Unique among the views of a context. */
  readonly key: string;
  readonly type: ProxyType;
  readonly namespace: string;
  /** Only labels that some condition or selector names. */
  readonly labels: Labels;
  readonly scope: ProxyScope;
  readonly interceptionMode: InterceptionMode;
  readonly extensions: PrivateExtensions;
  readonly http10: boolean;
  readonly selfDiscovery: boolean;
}

/** Labels of a proxy: those of its pod in the registry, which may have changed since it connected, else its own. */
export function proxyLabels(push: PushContext, proxy: Proxy): Labels {
  return findPod(push.endpoints, proxy.namespace, proxy.podName, proxy.ipAddresses)?.labels ?? proxy.labels;
}

/** What a proxy offers beyond stock Envoy. */
export function privateExtensions(proxy: Proxy): PrivateExtensions {
  return {
    tcpStats: proxy.extensions.has('envoy.filters.network/istio.stats'),
    tcpMetadataExchange: proxy.extensions.has('envoy.filters.network/istio.metadata_exchange'),
  };
}

/** The scope of a proxy. Gateways see all that is exported to their namespace: Sidecar objects are not for them. */
export function proxyScope(push: PushContext, proxy: Proxy): ProxyScope {
  const sidecar =
    proxy.type === 'sidecar'
      ? sidecarFor(push.sidecars, proxy.namespace, proxyLabels(push, proxy))
      : undefined;
  const name = sidecar === undefined ? '' : `${sidecar.metadata.namespace}/${sidecar.metadata.name}`;
  return memoize(push, `scope ${proxy.namespace} ${name}`, () =>
    buildProxyScope(push, proxy.namespace, sidecar),
  );
}

/** The outbound view of a proxy. */
export function outboundView(push: PushContext, proxy: Proxy): OutboundView {
  const scope = proxyScope(push, proxy);
  const all = proxyLabels(push, proxy);
  const keys = memoize(
    push,
    'label keys',
    () =>
      new Set([
        ...push.virtualServices.sourceLabelKeys,
        ...push.destinationRules.selectorKeys,
        ...push.telemetries.selectorKeys,
      ]),
  );
  const extensions = privateExtensions(proxy);
  const { sidecar } = scope;
  const key = [
    'view',
    proxy.type,
    proxy.namespace,
    sidecar === undefined ? '' : `${sidecar.metadata.namespace}/${sidecar.metadata.name}`,
    proxy.interceptionMode,
    extensions.tcpStats ? 'stats' : '',
    extensions.tcpMetadataExchange ? 'mx' : '',
    proxy.http10 ? 'http10' : '',
    proxy.selfDiscovery ? 'self' : '',
    labelFingerprint(all, keys),
  ].join(' ');
  return memoize(push, key, () => {
    const labels: Record<string, string> = {};
    for (const label of keys) if (all[label] !== undefined) labels[label] = all[label];
    return {
      key,
      type: proxy.type,
      namespace: proxy.namespace,
      labels,
      scope,
      interceptionMode: proxy.interceptionMode,
      extensions,
      http10: proxy.http10,
      selfDiscovery: proxy.selfDiscovery,
    };
  });
}
