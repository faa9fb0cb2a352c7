/** Pods: what the mesh knows of the workload behind an address. */
import { label, TLS_MODE_ISTIO } from '#api/well_known.ts';
import type { NodeBody, PodBody } from '#config/kinds/kubernetes/types.ts';
import type { ObjectMeta, Resource } from '#config/resource.ts';
import type { Labels } from '../model/labels.ts';
import type { MeshIndex } from '../model/mesh_index.ts';
import type { Locality } from '../model/service.ts';
import { podLocality } from './locality.ts';

/** A pod, reduced to what endpoints need. */
export interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly addresses: readonly string[];
  readonly ready: boolean;
  /** SPIFFE ID. */
  readonly serviceAccount: string;
  readonly locality: Locality;
  readonly nodeName: string;
  readonly tlsMode: 'istio' | 'disabled';
  readonly workload: string;
  /** Container port by name. */
  readonly namedPorts: ReadonlyMap<string, number>;
  /** Host name inside a headless service, with the subdomain that names it; empty when it has none. */
  readonly hostname: string;
  readonly subdomain: string;
}

/** Name of the Deployment, StatefulSet … that made the pod; the pod's own name when nothing did. */
export function workloadName(metadata: ObjectMeta): string {
  const owner = metadata.ownerReferences?.find((reference) => reference.controller === true);
  if (owner === undefined) return metadata.name;
  const hash = metadata.labels['pod-template-hash'];
  if (owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`)) {
    return owner.name.slice(0, -hash.length - 1);
  }
  return owner.name;
}

/** `service.istio.io/canonical-name`, else the name labels, else the workload. */
export function canonicalName(labels: Labels, workload: string): string {
  return labels[label.canonicalName] ?? labels['app.kubernetes.io/name'] ?? labels['app'] ?? workload;
}

/** `service.istio.io/canonical-revision`, else the version labels, else `latest`. */
export function canonicalRevision(labels: Labels): string {
  return (
    labels[label.canonicalRevision] ?? labels['app.kubernetes.io/version'] ?? labels['version'] ?? 'latest'
  );
}

function isReady(body: PodBody): boolean {
  const condition = body.status?.conditions?.find(({ type }) => type === 'Ready');
  if (condition !== undefined) return condition.status === 'True';
  // Pods written by hand often carry an address and no conditions.
  return body.status?.phase === undefined || body.status.phase === 'Running';
}

/** Reads a pod. */
export function readPod(
  object: Resource<PodBody>,
  node: Resource<NodeBody> | undefined,
  mesh: MeshIndex,
): Pod {
  const { metadata, body } = object;
  const { labels, name, namespace } = metadata;
  const addresses = body.status?.podIPs?.map(({ ip }) => ip) ?? [];
  const namedPorts = new Map<string, number>();
  for (const container of [...(body.spec?.containers ?? []), ...(body.spec?.initContainers ?? [])]) {
    for (const port of container.ports ?? []) {
      if (port.name !== undefined && !namedPorts.has(port.name))
        namedPorts.set(port.name, port.containerPort);
    }
  }
  const account = body.spec?.serviceAccountName ?? 'default';
  const workload = workloadName(metadata);
  return {
    name,
    namespace,
    labels,
    addresses: addresses.length > 0 ? addresses : body.status?.podIP === undefined ? [] : [body.status.podIP],
    ready: metadata.deletionTimestamp === undefined && isReady(body),
    serviceAccount: `spiffe://${mesh.trustDomain}/ns/${namespace}/sa/${account}`,
    locality: podLocality(labels, node),
    nodeName: body.spec?.nodeName ?? '',
    tlsMode: labels[label.tlsMode] === TLS_MODE_ISTIO ? 'istio' : 'disabled',
    workload: [
      workload,
      namespace,
      canonicalName(labels, workload),
      canonicalRevision(labels),
      mesh.clusterId,
    ].join(';'),
    namedPorts,
    hostname: body.spec?.hostname ?? '',
    subdomain: body.spec?.subdomain ?? '',
  };
}
