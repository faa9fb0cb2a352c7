/**
 * The ports on which a proxy takes traffic for its application: the ports of its services, or the ingress listeners of its
 * Sidecar object.
 */
import type { IstioIngressListener } from '#config/kinds/sidecar/types.ts';
import type { ConnectionPoolSettings } from '#config/kinds/destination_rule/types.ts';
import type { ServerTLSSettings } from '#config/kinds/gateway/types.ts';
import { parseProtocol, type Protocol } from './protocol.ts';
import type { Proxy } from './proxy.ts';
import { proxyScope } from './proxy_view.ts';
import type { PushContext } from './push_context.ts';
import { type ServiceTarget, serviceTargets } from './service_target.ts';
import type { Service } from './service.ts';

/** An address of the application. */
export interface ApplicationEndpoint {
  readonly address: string;
  readonly port: number;
}

/** A port on which a proxy takes traffic for its application. */
export interface InboundPort {
  /** Port of the pod, and of the listener. */
  readonly targetPort: number;
  /** Port of the service, for names; the port of the pod when no service has it. */
  readonly servicePort: number;
  readonly protocol: Protocol;
  /** Services with this port, the oldest first. */
  readonly services: readonly Service[];
  /** Where the application listens; undefined: where the captured connection was going. */
  readonly endpoint: ApplicationEndpoint | undefined;
  /** Address to listen on; undefined: part of the listener that takes captured traffic. */
  readonly bind: string | undefined;
  /** Limits that replace those of Sidecar.inboundConnectionPool. */
  readonly connectionPool: ConnectionPoolSettings | undefined;
  /** TLS that the listener terminates where mutual TLS is off. */
  readonly tls: ServerTLSSettings | undefined;
}

/** Reads `127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:8080` (the pod's address) or `unix:///path`. */
function parseEndpoint(text: string | undefined, proxy: Proxy): ApplicationEndpoint | undefined {
  if (text === undefined || text === '') return undefined;
  if (text.startsWith('unix://')) return { address: text.slice('unix://'.length), port: 0 };
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, colon).replace(/^\[|\]$/g, '');
  const address = host === '0.0.0.0' || host === '::' ? (proxy.ipAddresses[0] ?? host) : host;
  return { address, port: Number(text.slice(colon + 1)) };
}

/** Targets that an ingress port stands for: by number, else all when the pod serves but one service. */
function targetsOf(number: number, targets: readonly ServiceTarget[]): readonly ServiceTarget[] {
  const own = targets.filter(({ port, targetPort }) => port.port === number || targetPort === number);
  if (own.length > 0) return own;
  return new Set(targets.map(({ service }) => service)).size === 1 ? targets : [];
}

function fromIngress(
  ingress: IstioIngressListener,
  proxy: Proxy,
  targets: readonly ServiceTarget[],
): InboundPort | undefined {
  const number = ingress.port?.number;
  if (number === undefined) return undefined;
  const own = targetsOf(number, targets);
  const bindToPort = ingress.captureMode === 'NONE' || proxy.interceptionMode === 'NONE';
  const [podAddress = '127.0.0.1'] = proxy.ipAddresses;
  return {
    targetPort: number,
    servicePort: number,
    protocol: parseProtocol(ingress.port?.protocol ?? ''),
    services: [...new Set(own.map(({ service }) => service))],
    endpoint:
      parseEndpoint(ingress.defaultEndpoint, proxy) ??
      // A listener that callers address has no original destination to go on to.
      (bindToPort ? { address: '127.0.0.1', port: number } : undefined),
    bind: bindToPort ? (ingress.bind ?? podAddress) : undefined,
    connectionPool: ingress.connectionPool,
    tls: ingress.tls,
  };
}

/** The ports of a sidecar, without repetition. Empty for gateways. */
export function inboundPorts(push: PushContext, proxy: Proxy): readonly InboundPort[] {
  if (proxy.type !== 'sidecar') return [];
  const targets = serviceTargets(push, proxy);
  const { sidecar } = proxyScope(push, proxy);
  const ingress =
    sidecar !== undefined && sidecar.metadata.namespace === proxy.namespace
      ? (sidecar.spec.ingress ?? [])
      : [];
  if (ingress.length > 0) {
    return ingress
      .map((listener) => fromIngress(listener, proxy, targets))
      .filter((port) => port !== undefined);
  }
  const byPort = new Map<number, InboundPort & { services: Service[] }>();
  for (const { service, port, targetPort } of targets) {
    if (port.protocol === 'UDP') continue;
    const present = byPort.get(targetPort);
    if (present !== undefined) {
      if (!present.services.includes(service)) present.services.push(service);
      continue;
    }
    const captured = proxy.interceptionMode !== 'NONE';
    byPort.set(targetPort, {
      targetPort,
      servicePort: port.port,
      protocol: port.protocol,
      services: [service],
      endpoint: captured ? undefined : { address: '127.0.0.1', port: targetPort },
      bind: captured ? undefined : proxy.ipAddresses[0],
      connectionPool: undefined,
      tls: undefined,
    });
  }
  return [...byPort.values()];
}
