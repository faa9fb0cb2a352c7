/** The workload at the other end of a request or connection, as metrics and logs name it (Istio's WorkloadMetadataObject). */
import { fromBinary, type JsonObject, type JsonValue, toBinary, toJson, fromJson } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import { label } from '#api/well_known.ts';

/**
 * Immutable. Keys are those of `%FILTER_STATE(upstream_peer:FIELD:workload)%`; what is unknown is empty. The same header
 * value gives the same object while it is remembered, so that it can be a key.
 */
export interface WorkloadPeer {
  /** Name of the pod. */
  readonly name: string;
  readonly namespace: string;
  readonly cluster: string;
  readonly workload: string;
  /** Canonical service. */
  readonly service: string;
  /** Canonical revision. */
  readonly revision: string;
  readonly app: string;
  readonly version: string;
  /** `deployment`, `job`, `cronjob`, `pod` and the like. */
  readonly type: string;
  /** SPIFFE id, when a registry gave it. */
  readonly identity: string;
}

/** Filter state that holds the client's workload. */
export const downstreamPeerKey = 'downstream_peer';
/** Filter state that holds the server's workload. */
export const upstreamPeerKey = 'upstream_peer';

const ownerPrefix = 'kubernetes://apis/apps/v1/namespaces/';

function text(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : '';
}

function labelsOf(metadata: JsonObject): JsonObject {
  const labels = metadata['LABELS'];
  return typeof labels === 'object' && labels !== null && !Array.isArray(labels) ? labels : {};
}

/** `deployments` of the owner's path in the singular. */
function ownerType(owner: string): string {
  if (!owner.startsWith(ownerPrefix)) return '';
  const plural = owner.slice(ownerPrefix.length).split('/')[1] ?? '';
  return plural.endsWith('s') ? plural.slice(0, -1) : plural;
}

/** Reads a node's metadata, or what a peer told of its own. */
export function peerFromMetadata(metadata: JsonObject): WorkloadPeer {
  const labels = labelsOf(metadata);
  const workload = text(metadata['WORKLOAD_NAME']);
  const first = (...names: string[]): string => {
    for (const name of names) if (text(labels[name]) !== '') return text(labels[name]);
    return '';
  };
  return {
    name: text(metadata['NAME']),
    namespace: text(metadata['NAMESPACE']),
    cluster: text(metadata['CLUSTER_ID']),
    workload,
    service: first(label.canonicalName, label.kubernetesName, label.app) || workload,
    revision: first(label.canonicalRevision, label.kubernetesVersion, label.version) || 'latest',
    app: first(label.app),
    version: first(label.version),
    type: ownerType(text(metadata['OWNER'])),
    identity: '',
  };
}

/** `workload;namespace;canonical service;canonical revision;cluster` of an endpoint's metadata; undefined without text. */
export function peerFromEndpoint(endpoint: string): WorkloadPeer | undefined {
  if (endpoint === '') return undefined;
  const [workload = '', namespace = '', service = '', revision = '', cluster = ''] = endpoint.split(';');
  return {
    name: '',
    namespace,
    cluster,
    workload,
    service,
    revision,
    app: '',
    version: '',
    type: '',
    identity: '',
  };
}

/**
 * Value of `x-envoy-peer-metadata`: a google.protobuf.Struct, base64. Keys stand in byte order, so that one workload has
 * one value.
 * @param extraLabels more labels of the node to tell
 */
export function encodePeer(metadata: JsonObject, extraLabels: readonly string[] = []): string {
  const peer = peerFromMetadata(metadata);
  const own = labelsOf(metadata);
  const labels: Record<string, string> = {
    [label.canonicalName]: peer.service,
    [label.canonicalRevision]: peer.revision,
    [label.app]: peer.app,
    [label.version]: peer.version,
  };
  for (const name of extraLabels) labels[name] = text(own[name]);
  const owner = peer.type === '' ? '' : `${ownerPrefix}${peer.namespace}/${peer.type}s/${peer.workload}`;
  const struct = sorted({
    CLUSTER_ID: peer.cluster,
    LABELS: sorted(labels),
    NAME: peer.name,
    NAMESPACE: peer.namespace,
    OWNER: owner,
    WORKLOAD_NAME: peer.workload,
  });
  return Buffer.from(toBinary(StructSchema, fromJson(StructSchema, struct))).toString('base64');
}

/** Without what is empty. */
function sorted(values: Readonly<Record<string, JsonValue>>): JsonObject {
  return Object.fromEntries(
    Object.entries(values)
      .filter(
        ([, value]) => value !== '' && (typeof value !== 'object' || Object.keys(value ?? {}).length > 0),
      )
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Reads `x-envoy-peer-metadata`; undefined when it is not base64 of a Struct. */
export function decodePeer(header: string): WorkloadPeer | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(header)) return undefined;
  try {
    const json = toJson(StructSchema, fromBinary(StructSchema, Buffer.from(header, 'base64')));
    return peerFromMetadata(json as JsonObject);
  } catch {
    return undefined;
  }
}
