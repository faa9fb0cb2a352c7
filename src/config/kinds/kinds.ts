/** The one list of kinds that the mesh reads. A kind that is not here is reported and ignored. */
import { checkMeshConfigMap } from '../mesh_config/config_map.ts';
import type { Resource } from '../resource.ts';
import { Checker } from '../schema/checker.ts';
import type { Issue } from '../schema/issue.ts';
import type { Schema } from '../schema/schema.ts';
import { authorizationPolicyBody } from './authorization_policy/validate.ts';
import { destinationRuleBody } from './destination_rule/validate.ts';
import { gatewayBody } from './gateway/validate.ts';
import {
  configMapBody,
  endpointSliceBody,
  endpointsBody,
  namespaceBody,
  nodeBody,
  podBody,
  secretBody,
  serviceAccountBody,
  serviceBody,
  workloadBody,
} from './kubernetes/validate.ts';
import { peerAuthenticationBody } from './peer_authentication/validate.ts';
import { proxyConfigBody } from './proxy_config/validate.ts';
import { serviceEntryBody } from './service_entry/validate.ts';
import { sidecarBody } from './sidecar/validate.ts';
import { telemetryBody } from './telemetry/validate.ts';
import { virtualServiceBody } from './virtual_service/validate.ts';

/** A kind that the mesh reads. */
export interface Kind {
  readonly kind: string;
  /** What objects carry once read. */
  readonly apiVersion: string;
  /** What objects may carry in files, apiVersion among them. */
  readonly apiVersions: readonly string[];
  /** In Kubernetes' paths and on command lines. */
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  /** Of what stands beside apiVersion, kind and metadata. */
  readonly body: Schema<object>;
}

const networking = ['v1alpha3', 'v1beta1', 'v1'].map((version) => `networking.istio.io/${version}`);
const security = ['v1beta1', 'v1'].map((version) => `security.istio.io/${version}`);
const telemetry = ['v1alpha1', 'v1'].map((version) => `telemetry.istio.io/${version}`);

function kind(
  apiVersions: string | readonly string[],
  name: string,
  plural: string,
  shortNames: string,
  body: Schema<object>,
  namespaced = true,
): Kind {
  const all = typeof apiVersions === 'string' ? [apiVersions] : apiVersions;
  return {
    kind: name,
    apiVersion: all.at(-1) ?? '',
    apiVersions: all,
    plural,
    shortNames: shortNames === '' ? [] : shortNames.split(' '),
    namespaced,
    body,
  };
}

/** All kinds. */
export const kinds: readonly Kind[] = [
  kind('v1', 'Namespace', 'namespaces', 'ns', namespaceBody, false),
  kind('v1', 'Node', 'nodes', 'no', nodeBody, false),
  kind('v1', 'ServiceAccount', 'serviceaccounts', 'sa', serviceAccountBody),
  kind('v1', 'ConfigMap', 'configmaps', 'cm', configMapBody),
  kind('v1', 'Secret', 'secrets', '', secretBody),
  kind('v1', 'Service', 'services', 'svc', serviceBody),
  kind('v1', 'Endpoints', 'endpoints', 'ep', endpointsBody),
  kind('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices', '', endpointSliceBody),
  kind('v1', 'Pod', 'pods', 'po', podBody),
  kind('apps/v1', 'Deployment', 'deployments', 'deploy', workloadBody),
  kind('apps/v1', 'StatefulSet', 'statefulsets', 'sts', workloadBody),
  kind('apps/v1', 'DaemonSet', 'daemonsets', 'ds', workloadBody),
  kind('apps/v1', 'ReplicaSet', 'replicasets', 'rs', workloadBody),
  kind(networking, 'VirtualService', 'virtualservices', 'vs', virtualServiceBody),
  kind(networking, 'DestinationRule', 'destinationrules', 'dr', destinationRuleBody),
  kind(networking, 'Gateway', 'gateways', 'gw', gatewayBody),
  kind(networking, 'ServiceEntry', 'serviceentries', 'se', serviceEntryBody),
  kind(networking, 'Sidecar', 'sidecars', '', sidecarBody),
  kind('networking.istio.io/v1beta1', 'ProxyConfig', 'proxyconfigs', '', proxyConfigBody),
  kind(security, 'PeerAuthentication', 'peerauthentications', 'pa', peerAuthenticationBody),
  kind(security, 'AuthorizationPolicy', 'authorizationpolicies', 'ap', authorizationPolicyBody),
  kind(telemetry, 'Telemetry', 'telemetries', 'telemetry', telemetryBody),
];

const byName = new Map(
  kinds.flatMap((entry) => entry.apiVersions.map((version) => [`${version}/${entry.kind}`, entry])),
);

/** The kind of an object as files write it; undefined when the mesh does not read it. */
export function findKind(apiVersion: string, name: string): Kind | undefined {
  return byName.get(`${apiVersion}/${name}`);
}

/** Everything that is wrong with, or strange about, an object of a known kind. Paths are rooted at the object. */
export function validateResource(resource: Resource): readonly Issue[] {
  const entry = findKind(resource.apiVersion, resource.kind);
  if (entry === undefined) return [];
  const checker = new Checker(resource.metadata);
  entry.body.check(resource.body, checker);
  if (resource.kind === 'ConfigMap' && checker.errorCount === 0) checkMeshConfigMap(resource, checker);
  return checker.issues;
}
