/** A proxy that asks for configuration, as its xDS node describes it (Istio node ID and node metadata). */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { InterceptionMode } from '#config/mesh_config/proxy_config.ts';
import type { Labels } from './labels.ts';
import type { Locality } from './service.ts';

/** A sidecar beside an application, or a gateway. */
export type ProxyType = 'sidecar' | 'router';

/** A proxy. */
export interface Proxy {
  /** `sidecar~10.0.0.1~reviews-v1-x.default~default.svc.cluster.local`. */
  readonly id: string;
  readonly type: ProxyType;
  /** Addresses of the pod, the primary first. Never empty. */
  readonly ipAddresses: readonly string[];
  readonly podName: string;
  readonly namespace: string;
  /** `default.svc.cluster.local`: what short names are completed with. */
  readonly dnsDomain: string;
  readonly labels: Labels;
  readonly metadata: JsonObject;
  readonly locality: Locality;
  readonly nodeName: string;
  readonly serviceAccount: string;
  readonly trustDomain: string;
  readonly clusterId: string;
  readonly network: string;
  readonly interceptionMode: InterceptionMode;
  /** Port of the explicit HTTP proxy; 0: as MeshConfig says. */
  readonly httpProxyPort: number;
  /** It has a cluster of its own workload (metadata `ENABLE_SELF_DISCOVERY`): zone-aware balancing works. */
  readonly selfDiscovery: boolean;
  /** HTTP/1.0 requests are answered (metadata `HTTP10`, which Istio's proxies take from `ISTIO_META_HTTP10`). */
  readonly http10: boolean;
  /** Container port by name (metadata `POD_PORTS`). */
  readonly namedPorts: ReadonlyMap<string, number>;
  /** `category/name` of the extensions that the proxy says it has (Node.extensions). */
  readonly extensions: ReadonlySet<string>;
}

function text(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';
}

function readLabels(value: JsonValue | undefined): Labels {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  const labels: Record<string, string> = {};
  for (const [key, entry] of Object.entries(value)) labels[key] = text(entry);
  return labels;
}

/** Reads `[{"name":"http","containerPort":9080}]`, as text or as a list. */
function readNamedPorts(value: JsonValue | undefined): ReadonlyMap<string, number> {
  let list: unknown = value;
  if (typeof value === 'string') {
    try {
      list = JSON.parse(value);
    } catch {
      list = [];
    }
  }
  const ports = new Map<string, number>();
  for (const entry of Array.isArray(list) ? (list as readonly unknown[]) : []) {
    if (typeof entry !== 'object' || entry === null) continue;
    const { name, containerPort } = entry as { name?: unknown; containerPort?: unknown };
    if (typeof name === 'string' && typeof containerPort === 'number') ports.set(name, containerPort);
  }
  return ports;
}

function readInterceptionMode(value: JsonValue | undefined): InterceptionMode {
  return value === 'NONE' || value === 'TPROXY' ? value : 'REDIRECT';
}

/**
 * Reads a node. The ID has four parts joined by `~`: type, address, `pod.namespace`, DNS domain.
 * @throws Error when the ID is not of that form, or its type is neither sidecar nor router.
 */
export function proxyFromNode(node: Node): Proxy {
  const [type, address, podAndNamespace, dnsDomain, ...rest] = node.id.split('~');
  if (address === undefined || podAndNamespace === undefined || dnsDomain === undefined || rest.length > 0) {
    throw new Error(`node id ${JSON.stringify(node.id)} is not type~address~pod.namespace~domain`);
  }
  if (type !== 'sidecar' && type !== 'router') {
    throw new Error(
      `node id ${JSON.stringify(node.id)} has type ${JSON.stringify(type)}, not sidecar or router`,
    );
  }
  const metadata = node.metadata ?? {};
  const dot = podAndNamespace.lastIndexOf('.');
  const ips = text(metadata['INSTANCE_IPS'])
    .split(',')
    .filter((ip) => ip !== '');
  return {
    id: node.id,
    type,
    ipAddresses: ips.length > 0 ? ips : [address === '' ? '127.0.0.1' : address],
    podName: dot < 0 ? podAndNamespace : podAndNamespace.slice(0, dot),
    namespace: text(metadata['NAMESPACE']) || (dot < 0 ? '' : podAndNamespace.slice(dot + 1)),
    dnsDomain,
    labels: readLabels(metadata['LABELS']),
    metadata,
    locality: {
      region: node.locality?.region ?? '',
      zone: node.locality?.zone ?? '',
      subzone: node.locality?.subZone ?? '',
    },
    nodeName: text(metadata['NODE_NAME']),
    serviceAccount: text(metadata['SERVICE_ACCOUNT']),
    trustDomain: text(metadata['TRUST_DOMAIN']),
    clusterId: text(metadata['CLUSTER_ID']),
    network: text(metadata['NETWORK']),
    interceptionMode: readInterceptionMode(metadata['INTERCEPTION_MODE']),
    httpProxyPort: Number(text(metadata['HTTP_PROXY_PORT'])) || 0,
    selfDiscovery: text(metadata['ENABLE_SELF_DISCOVERY']) === 'true',
    http10: text(metadata['HTTP10']) === '1',
    namedPorts: readNamedPorts(metadata['POD_PORTS']),
    extensions: new Set(node.extensions.map(({ category, name }) => `${category}/${name}`)),
  };
}
