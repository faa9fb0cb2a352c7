/**
 * Outbound listeners of sidecars. None of them is bound: `virtualOutbound` takes captured connections and hands each to the
 * listener of its original destination, or of its port on all addresses.
 */
import { create } from '@bufbuild/protobuf';
import { TrafficDirection } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import {
  type FilterChain,
  FilterChainMatchSchema,
  FilterChainSchema,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import {
  filterChainName,
  fixedCluster,
  listenerName,
  plaintextHttpAlpn,
  transportProtocol,
} from '#api/well_known.ts';
import { allEndpoints } from '../../model/endpoint_index.ts';
import { listenerNameOf } from '../../model/names.ts';
import { listenerProtocol } from '../../model/protocol.ts';
import type { EgressListener } from '../../model/proxy_scope.ts';
import type { OutboundView } from '../../model/proxy_view.ts';
import { memoize, type PushContext } from '../../model/push_context.ts';
import { isHeadless, type Service, type ServicePort } from '../../model/service.ts';
import { meshGateway, type RoutingRule } from '../../model/virtual_service_index.ts';
import { accessLogs, listenerAccessLogs } from '../access_log.ts';
import { buildAddress, buildCidr } from '../address.ts';
import type { RouteContext } from '../route/http_route.ts';
import { durationOf } from '../wire.ts';
import { httpConnectionManager } from './http_connection_manager.ts';
import { defaultL4Chain, type L4Chain, l4Chains, tcpPolicy } from './l4_route.ts';
import { httpInspector, tlsInspector } from './listener_filters.ts';
import { tcpFilters } from './tcp_filters.ts';

const anyAddress = '0.0.0.0';
const meshGateways: ReadonlySet<string> = new Set([meshGateway]);

/** A listener while services are gathered into it. */
interface Draft {
  readonly address: string;
  readonly port: number;
  readonly bound: boolean;
  /** Route configuration for HTTP; undefined: no HTTP here. */
  route: string | undefined;
  /** Chains of TCP by their match, so that none stands twice. */
  readonly chains: Map<string, FilterChain>;
}

/** Everything outbound listeners of one view are made from. */
class OutboundBuilder {
  readonly #push: PushContext;
  readonly #view: OutboundView;
  readonly #drafts = new Map<string, Draft>();

  constructor(push: PushContext, view: OutboundView) {
    this.#push = push;
    this.#view = view;
  }

  build(): Listener[] {
    for (const egress of this.#view.scope.egress) this.#addEgress(egress);
    return [...this.#drafts.values()].map((draft) => this.#finish(draft));
  }

  #addEgress(egress: EgressListener): void {
    const { config } = egress;
    const noCapture = this.#view.interceptionMode === 'NONE' || config?.captureMode === 'NONE';
    // Without capture only listeners that somebody names are worth having: callers must address them.
    if (noCapture && (config?.port?.number ?? 0) === 0) return;
    const bind = config?.bind ?? (noCapture ? '127.0.0.1' : undefined);
    for (const service of egress.services) {
      for (const port of service.ports) {
        if (port.protocol === 'UDP') continue;
        if (config?.port !== undefined && config.port.number !== port.port) continue;
        this.#addPort(egress, service, port, bind, noCapture);
      }
    }
  }

  /** Addresses under which connections to a port come in. */
  #addresses(service: Service, port: ServicePort): readonly string[] {
    if (listenerProtocol(port.protocol) === 'http') return [anyAddress];
    if (service.addresses.length > 0) return service.addresses;
    if (isHeadless(service) && service.registry === 'Kubernetes') {
      const endpoints = allEndpoints(this.#push.endpoints, service).get(port.name) ?? [];
      if (endpoints.length > 0) return [...new Set(endpoints.map(({ address }) => address))];
    }
    return [anyAddress];
  }

  #draft(address: string, port: number, bound: boolean): Draft {
    const key = listenerNameOf(address, port);
    let draft = this.#drafts.get(key);
    if (draft === undefined) {
      draft = { address, port, bound, route: undefined, chains: new Map() };
      this.#drafts.set(key, draft);
    }
    return draft;
  }

  #addPort(
    egress: EgressListener,
    service: Service,
    port: ServicePort,
    bind: string | undefined,
    bound: boolean,
  ): void {
    const kind = listenerProtocol(port.protocol);
    for (const address of bind === undefined ? this.#addresses(service, port) : [bind]) {
      const draft = this.#draft(address, port.port, bound);
      if (kind !== 'tcp') {
        // On a shared address the Host header tells services apart; on its own address there is but one.
        const own = kind === 'auto' && address !== anyAddress && bind === undefined;
        draft.route ??= own ? `${service.hostname}:${port.port}` : String(port.port);
      }
      if (kind !== 'http') this.#addChains(draft, egress, service, port, address === anyAddress);
    }
  }

  #addChains(
    draft: Draft,
    egress: EgressListener,
    service: Service,
    port: ServicePort,
    shared: boolean,
  ): void {
    const context: RouteContext = {
      push: this.#push,
      view: this.#view,
      listenPort: port.port,
      gateways: meshGateways,
    };
    const rule = this.#l4Rule(egress, service);
    const chains = rule === undefined ? [] : l4Chains(rule, port, context);
    const complete = chains.some((chain) => chain.serverNames.length === 0 && chain.subnets.length === 0);
    for (const chain of complete ? chains : [...chains, defaultL4Chain(service, port, context, shared)]) {
      const key = JSON.stringify([chain.serverNames, chain.subnets]);
      if (!draft.chains.has(key)) draft.chains.set(key, this.#tcpChain(chain, service, port, context));
    }
  }

  #l4Rule(egress: EgressListener, service: Service): RoutingRule | undefined {
    const byHost = memoize(
      this.#push,
      `l4 rules ${this.#view.key} ${this.#view.scope.egress.indexOf(egress)}`,
      () => {
        const rules = new Map<string, RoutingRule>();
        for (const rule of egress.virtualServices) {
          if ((rule.spec.tcp ?? []).length === 0 && (rule.spec.tls ?? []).length === 0) continue;
          for (const host of rule.hosts) if (!rules.has(host)) rules.set(host, rule);
        }
        return rules;
      },
    );
    return byHost.get(service.hostname);
  }

  #tcpChain(chain: L4Chain, service: Service, port: ServicePort, context: RouteContext): FilterChain {
    const matches = chain.serverNames.length > 0 || chain.subnets.length > 0;
    return create(FilterChainSchema, {
      ...(matches
        ? {
            filterChainMatch: {
              serverNames: [...chain.serverNames],
              prefixRanges: chain.subnets.map(buildCidr),
            },
          }
        : {}),
      filters: tcpFilters({
        listenerClass: 'sidecar_outbound',
        statPrefix: chain.statPrefix,
        targets: chain.targets,
        accessLogs: this.#logs(),
        extensions: this.#view.extensions,
        ...tcpPolicy(service, port, context),
      }),
    });
  }

  #logs() {
    return accessLogs(this.#push, this.#view.namespace, this.#view.labels, 'CLIENT');
  }

  #httpChain(draft: Draft, route: string): FilterChain {
    return create(FilterChainSchema, {
      filterChainMatch: {
        transportProtocol: transportProtocol.rawBuffer,
        applicationProtocols: [...plaintextHttpAlpn],
      },
      filters: [
        httpConnectionManager({
          mesh: this.#push.mesh,
          listenerClass: 'sidecar_outbound',
          statPrefix: `outbound_${listenerNameOf(draft.address, draft.port)}`,
          routes: route,
          protocol: 'HTTP',
          accessLogs: this.#logs(),
          authorization: [],
          trustedHops: 0,
          http10: this.#view.http10,
        }),
      ],
    });
  }

  #finish(draft: Draft): Listener {
    const chains = [...draft.chains.values()];
    const open = chains.find((chain) => chain.filterChainMatch === undefined);
    const listener = create(ListenerSchema, {
      name: listenerNameOf(draft.address, draft.port),
      address: buildAddress(draft.address, draft.port),
      trafficDirection: TrafficDirection.OUTBOUND,
      bindToPort: draft.bound,
      accessLog: listenerAccessLogs(this.#push, this.#logs()),
    });
    if (draft.route === undefined) {
      listener.filterChains = chains;
      if (chains.some((chain) => (chain.filterChainMatch?.serverNames.length ?? 0) > 0)) {
        listener.listenerFilters = [tlsInspector()];
        this.#waitForBytes(listener);
      }
      return listener;
    }
    // Bytes that are not HTTP go to the service of the address, or on to where they were going.
    listener.filterChains = [
      ...chains.filter((chain) => chain !== open),
      this.#httpChain(draft, draft.route),
    ];
    listener.defaultFilterChain =
      open ?? passthroughChain(this.#push, this.#view, filterChainName.passthrough);
    listener.listenerFilters = [tlsInspector(), httpInspector()];
    this.#waitForBytes(listener);
    return listener;
  }

  #waitForBytes(listener: Listener): void {
    listener.listenerFiltersTimeout = durationOf(this.#push.mesh.protocolDetectionTimeoutMs);
    listener.continueOnListenerFiltersTimeout = true;
  }
}

/** Cluster of connections that no listener knows. */
function unknownTarget(view: OutboundView): string {
  return view.scope.allowAnyOutbound ? fixedCluster.passthrough : fixedCluster.blackHole;
}

function fixedChain(push: PushContext, view: OutboundView, name: string, cluster: string): FilterChain {
  return create(FilterChainSchema, {
    name,
    filters: tcpFilters({
      listenerClass: 'sidecar_outbound',
      statPrefix: cluster,
      targets: [{ cluster, weight: 1 }],
      accessLogs: accessLogs(push, view.namespace, view.labels, 'CLIENT'),
      extensions: view.extensions,
      settings: undefined,
      hashSourceIp: false,
    }),
  });
}

function passthroughChain(push: PushContext, view: OutboundView, name: string): FilterChain {
  return fixedChain(push, view, name, unknownTarget(view));
}

/** `virtualOutbound`. */
export function virtualOutbound(push: PushContext, view: OutboundView): Listener {
  const { outboundPort } = push.mesh;
  // Connections to the proxy's own port would come back to it for ever.
  const blackhole = fixedChain(push, view, filterChainName.outboundBlackhole, fixedCluster.blackHole);
  blackhole.filterChainMatch = create(FilterChainMatchSchema, { destinationPort: outboundPort });
  const logs = accessLogs(push, view.namespace, view.labels, 'CLIENT');
  return create(ListenerSchema, {
    name: listenerName.virtualOutbound,
    address: buildAddress(anyAddress, outboundPort),
    filterChains: [blackhole, passthroughChain(push, view, filterChainName.outboundCatchAllTcp)],
    useOriginalDst: true,
    trafficDirection: TrafficDirection.OUTBOUND,
    accessLog: listenerAccessLogs(push, logs),
    ...(view.interceptionMode === 'TPROXY' ? { transparent: true } : {}),
  });
}

/** Listeners of services and ports. */
export function outboundListeners(push: PushContext, view: OutboundView): readonly Listener[] {
  return memoize(push, `listeners ${view.key}`, () => new OutboundBuilder(push, view).build());
}
