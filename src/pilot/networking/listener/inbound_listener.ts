/** Inbound listeners: one that takes captured traffic, and those that callers address themselves. */
import { create } from '@bufbuild/protobuf';
import { TrafficDirection } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import type {
  FilterChain,
  ListenerFilter,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import { listenerName } from '#api/well_known.ts';
import type { InboundPort } from '../../model/inbound_port.ts';
import type { InboundView } from '../../model/inbound_view.ts';
import { listenerNameOf } from '../../model/names.ts';
import {
  type EffectiveMode,
  type MutualTlsMode,
  mutualTlsMode,
} from '../../model/peer_authentication_index.ts';
import { listenerProtocol } from '../../model/protocol.ts';
import { memoize, type PushContext } from '../../model/push_context.ts';
import { accessLogs, listenerAccessLogs } from '../access_log.ts';
import { buildAddress } from '../address.ts';
import { durationOf } from '../wire.ts';
import { needsHttpInspector, needsTlsInspector } from './chain_match.ts';
import { blackholeChain, passthroughChains, portChains } from './inbound_chains.ts';
import { httpInspector, originalDst, tlsInspector } from './listener_filters.ts';

function modeOf(mtls: MutualTlsMode, port: number): EffectiveMode {
  return mtls.ports.get(port) ?? mtls.mode;
}

/** Ports where a listener filter would only wait: for protocols in which the server speaks first, for ever. */
function portsWithout(
  view: InboundView,
  mtls: MutualTlsMode,
  needs: (protocol: ReturnType<typeof listenerProtocol>, mode: EffectiveMode) => boolean,
): number[] {
  return view.ports
    .filter(({ bind, protocol, targetPort }) => {
      const mode = modeOf(mtls, targetPort);
      return bind === undefined && !needs(listenerProtocol(protocol), mode);
    })
    .map(({ targetPort }) => targetPort);
}

function inboundListener(
  push: PushContext,
  view: InboundView,
  name: string,
  address: string,
  port: number,
  filterChains: FilterChain[],
  listenerFilters: ListenerFilter[],
): Listener {
  const logs = accessLogs(push, view.namespace, view.labels, 'SERVER');
  return create(ListenerSchema, {
    name,
    address: buildAddress(address, port),
    filterChains,
    listenerFilters,
    listenerFiltersTimeout: durationOf(push.mesh.protocolDetectionTimeoutMs),
    continueOnListenerFiltersTimeout: true,
    trafficDirection: TrafficDirection.INBOUND,
    accessLog: listenerAccessLogs(push, logs),
  });
}

/** `virtualInbound`: chains per port, and for everything else on to where it was going. */
function virtualInbound(push: PushContext, view: InboundView, mtls: MutualTlsMode): Listener {
  const { inboundPort } = push.mesh;
  const captured = view.ports.filter(({ bind }) => bind === undefined);
  const named = new Set(captured.map(({ targetPort }) => targetPort));
  const chains = [
    blackholeChain(push, view),
    ...passthroughChains(push, view, mtls.mode),
    ...[...mtls.ports]
      .filter(([port]) => !named.has(port))
      .flatMap(([port, mode]) => passthroughChains(push, view, mode, port)),
    ...captured.flatMap((port) => portChains(push, view, port, modeOf(mtls, port.targetPort))),
  ];
  const listener = inboundListener(
    push,
    view,
    listenerName.virtualInbound,
    view.ipv6 ? '::' : '0.0.0.0',
    inboundPort,
    chains,
    [
      originalDst(),
      tlsInspector([...portsWithout(view, mtls, needsTlsInspector), inboundPort]),
      httpInspector([...portsWithout(view, mtls, needsHttpInspector), inboundPort]),
    ],
  );
  if (view.interceptionMode === 'TPROXY') listener.transparent = true;
  return listener;
}

/** A listener on an address of its own. */
function boundListener(
  push: PushContext,
  view: InboundView,
  port: InboundPort,
  mtls: MutualTlsMode,
): Listener {
  const mode = modeOf(mtls, port.targetPort);
  const protocol = listenerProtocol(port.protocol);
  const bind = port.bind ?? '0.0.0.0';
  const endsTls = mode === 'DISABLE' && port.tls !== undefined;
  return inboundListener(
    push,
    view,
    listenerNameOf(bind, port.targetPort),
    bind,
    port.targetPort,
    portChains(push, view, port, mode),
    [
      ...(endsTls || needsTlsInspector(protocol, mode) ? [tlsInspector()] : []),
      ...(needsHttpInspector(protocol, mode) ? [httpInspector()] : []),
    ],
  );
}

/** All inbound listeners of a sidecar. */
export function inboundListeners(push: PushContext, view: InboundView): readonly Listener[] {
  return memoize(push, `listeners ${view.key}`, () => {
    const mtls = mutualTlsMode(push.peerAuthentications, view.namespace, view.labels);
    const bound = view.ports.filter(({ bind }) => bind !== undefined);
    return [
      ...(view.interceptionMode === 'NONE' ? [] : [virtualInbound(push, view, mtls)]),
      ...bound.map((port) => boundListener(push, view, port, mtls)),
    ];
  });
}
