/** The servers of all Gateways that a proxy carries, by the port it listens on. */
import type { Gateway, Server } from '#config/kinds/gateway/types.ts';
import type { ConfigObject } from './config_object.ts';
import { gatewaysFor } from './gateway_index.ts';
import type { Labels } from './labels.ts';
import { isTls, parseProtocol, type Protocol } from './protocol.ts';
import type { Proxy } from './proxy.ts';
import { proxyLabels } from './proxy_view.ts';
import { memoize, type PushContext } from './push_context.ts';
import { type ServiceTarget, serviceTargets } from './service_target.ts';

/** A server of a Gateway. */
export interface GatewayServer {
  readonly gateway: ConfigObject<Gateway>;
  /** `namespace/name` of the Gateway. */
  readonly gatewayName: string;
  readonly server: Server;
  /** Port that callers know, as Gateways write it. */
  readonly servicePort: number;
  readonly protocol: Protocol;
}

/** What listens on one port. */
export interface GatewayPort {
  /** Port of the pod. */
  readonly port: number;
  readonly bind: string;
  /** Plain HTTP servers, which share one connection manager, or TLS and TCP servers with a chain each. */
  readonly kind: 'http' | 'tls';
  readonly servers: readonly GatewayServer[];
}

/** One name of a server's hosts. */
export interface ServerHost {
  /** Namespace whose VirtualServices may use the host; `*` is all. */
  readonly namespace: string;
  readonly host: string;
}

/** Reads the hosts of a server: `host` or `namespace/host`. */
export function serverHosts({ gateway, server }: GatewayServer): readonly ServerHost[] {
  return (server.hosts ?? []).map((entry) => {
    const slash = entry.indexOf('/');
    const owner = slash < 0 ? '*' : entry.slice(0, slash);
    return { namespace: owner === '.' ? gateway.metadata.namespace : owner, host: entry.slice(slash + 1) };
  });
}

/** Route configuration of a server: shared by plain HTTP servers of a port, its own for each that ends TLS. */
export function gatewayRouteName(port: GatewayPort, entry: GatewayServer): string {
  if (port.kind === 'http') return `http.${port.port}`;
  const { gateway, server } = entry;
  const { name, namespace } = gateway.metadata;
  return `https.${entry.servicePort}.${server.port?.name ?? ''}.${name}.${namespace}`;
}

/** Whether requests of a server are routed as HTTP: plain, or after its TLS has ended here. */
export function routesHttp({ protocol, server }: GatewayServer): boolean {
  if (protocol === 'HTTPS') return !passesThrough(server);
  return !isTls(protocol) && protocol !== 'TCP' && protocol !== 'Mongo';
}

/** Whether TLS goes on to the service as it is. */
export function passesThrough(server: Server): boolean {
  const mode = server.tls?.mode ?? 'PASSTHROUGH';
  return server.tls !== undefined && (mode === 'PASSTHROUGH' || mode === 'AUTO_PASSTHROUGH');
}

/**
 * The ports of a gateway. A port that a Service of the gateway maps to another port of the pod is listened on there; of two
 * servers for one port that cannot share it, the older stays.
 */
export function gatewayPorts(push: PushContext, proxy: Proxy): readonly GatewayPort[] {
  if (proxy.type !== 'router') return [];
  const targets = serviceTargets(push, proxy);
  const labels = proxyLabels(push, proxy);
  const mapped = targets.map(({ port, targetPort }) => [port.port, targetPort]);
  const key = `gateway ports ${JSON.stringify([labels, mapped])}`;
  return memoize(push, key, () => readPorts(push, labels, targets));
}

function readPorts(
  push: PushContext,
  labels: Labels,
  targets: readonly ServiceTarget[],
): readonly GatewayPort[] {
  const ports = new Map<string, GatewayPort & { servers: GatewayServer[] }>();
  const kinds = new Map<number, GatewayPort['kind']>();
  for (const gateway of gatewaysFor(push.gateways, labels)) {
    for (const server of gateway.spec.servers ?? []) {
      const servicePort = server.port?.number;
      if (servicePort === undefined) continue;
      const target = targets.find((candidate) => candidate.port.port === servicePort);
      const port = target?.targetPort ?? servicePort;
      const protocol = parseProtocol(server.port?.protocol ?? '');
      const { name, namespace } = gateway.metadata;
      const entry: GatewayServer = {
        gateway,
        gatewayName: `${namespace}/${name}`,
        server,
        servicePort,
        protocol,
      };
      const kind = routesHttp(entry) && protocol !== 'HTTPS' ? 'http' : 'tls';
      if ((kinds.get(port) ?? kind) !== kind) continue;
      kinds.set(port, kind);
      const bind = server.bind ?? '0.0.0.0';
      const key = `${bind}_${port}`;
      const present = ports.get(key);
      if (present === undefined) ports.set(key, { port, bind, kind, servers: [entry] });
      else present.servers.push(entry);
    }
  }
  return [...ports.values()];
}
