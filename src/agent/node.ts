/** The node that a proxy tells the control plane: id, cluster, locality and metadata in Istio's form. */
import { create } from '@bufbuild/protobuf';
import {
  LocalitySchema,
  NodeSchema,
  type Locality,
  type Node,
} from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { AgentOptions, Json, JsonRecord } from './options.ts';

/** `sidecar~IP~pod.namespace~namespace.svc.cluster.local`. */
export function nodeId(
  options: Pick<AgentOptions, 'nodeType' | 'podIps' | 'podName' | 'podNamespace' | 'domain'>,
): string {
  const ip = options.podIps[0] ?? '127.0.0.1';
  return `${options.nodeType}~${ip}~${options.podName}.${options.podNamespace}~${options.domain}`;
}

/**
 * Name of the service that the proxy stands for: the flag, else label `app` with namespace, else the workload's name
 * with namespace, else `istio-proxy`.
 */
export function serviceClusterOf(
  options: Pick<AgentOptions, 'serviceCluster' | 'labels' | 'metadata' | 'podNamespace'>,
): string {
  if (options.serviceCluster !== undefined && options.serviceCluster !== '') return options.serviceCluster;
  const workload = options.metadata['WORKLOAD_NAME'];
  const name = options.labels['app'] ?? (typeof workload === 'string' ? workload : 'istio-proxy');
  return `${name}.${options.podNamespace}`;
}

/** `region.zone.subzone` or `region/zone/subzone` of label `istio-locality`, else the topology labels. */
function readLocality(labels: Readonly<Record<string, string>>): Locality {
  const text = labels['istio-locality'];
  if (text !== undefined) {
    const [region = '', zone = '', subZone = ''] = text.split(text.includes('/') ? '/' : '.');
    return create(LocalitySchema, { region, zone, subZone });
  }
  return create(LocalitySchema, {
    region: labels['topology.kubernetes.io/region'] ?? '',
    zone: labels['topology.kubernetes.io/zone'] ?? '',
    subZone: labels['topology.istio.io/subzone'] ?? '',
  });
}

/** Metadata as Istio's control plane reads it; what the options bring stands above what is derived. */
function nodeMetadata(options: AgentOptions): JsonRecord {
  const metadata: JsonRecord = {
    NAME: options.podName,
    NAMESPACE: options.podNamespace,
    INSTANCE_IPS: options.podIps.join(','),
    SERVICE_ACCOUNT: options.serviceAccount,
    CLUSTER_ID: 'Kubernetes',
    MESH_ID: options.trustDomain,
    ISTIO_VERSION: options.version,
    INTERCEPTION_MODE: 'REDIRECT',
    ENVOY_STATUS_PORT: options.endpoints.health.port,
    ENVOY_PROMETHEUS_PORT: options.endpoints.prometheus.port,
    LABELS: { ...options.labels },
    ANNOTATIONS: { ...options.annotations },
    PROXY_CONFIG: options.proxyConfig.json,
  };
  if (options.dns !== undefined) metadata['DNS_CAPTURE'] = 'true';
  for (const [key, value] of Object.entries(options.metadata)) metadata[key] = value satisfies Json;
  return metadata;
}

/** The node of an agent. */
export function buildNode(options: AgentOptions): Node {
  return create(NodeSchema, {
    id: nodeId(options),
    cluster: serviceClusterOf(options),
    locality: readLocality(options.labels),
    metadata: nodeMetadata(options),
  });
}
