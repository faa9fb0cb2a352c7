/** The explicit HTTP proxy: for callers that no capture brings to the sidecar (MeshConfig.proxyHttpPort). */
import { create } from '@bufbuild/protobuf';
import { TrafficDirection } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { httpProxyRoute, listenerNameOf } from '../../model/names.ts';
import type { Proxy } from '../../model/proxy.ts';
import type { OutboundView } from '../../model/proxy_view.ts';
import type { PushContext } from '../../model/push_context.ts';
import { accessLogs, listenerAccessLogs } from '../access_log.ts';
import { buildAddress, isLoopback } from '../address.ts';
import { httpConnectionManager } from './http_connection_manager.ts';

/**
 * The listener, or undefined when no port is set. It listens where only the pod itself can reach it: on the pod's address
 * when that is a loopback address (several pods on one machine), else on 127.0.0.1.
 */
export function httpProxyListener(push: PushContext, view: OutboundView, proxy: Proxy): Listener | undefined {
  const port = proxy.httpProxyPort || push.mesh.httpProxyPort;
  if (port === 0) return undefined;
  const [podAddress = '127.0.0.1'] = proxy.ipAddresses;
  const address = isLoopback(podAddress) ? podAddress : '127.0.0.1';
  const name = listenerNameOf(address, port);
  const logs = accessLogs(push, view.namespace, view.labels, 'CLIENT');
  return create(ListenerSchema, {
    name,
    address: buildAddress(address, port),
    trafficDirection: TrafficDirection.OUTBOUND,
    accessLog: listenerAccessLogs(push, logs),
    filterChains: [
      {
        filters: [
          httpConnectionManager({
            mesh: push.mesh,
            listenerClass: 'sidecar_outbound',
            statPrefix: `outbound_${name}`,
            routes: httpProxyRoute,
            protocol: 'HTTP_PROXY',
            accessLogs: logs,
            authorization: [],
            trustedHops: 0,
            http10: proxy.http10,
          }),
        ],
      },
    ],
  });
}
