/** Environment of the proxy container. */
import { type InjectionContext, applicationContainers, interceptionMode, trustDomain } from '../context.ts';
import { otelResourceAttributes } from '../otel_resource_attributes.ts';
import { orderedJson } from '../pod/canonical.ts';
import { containerShape } from '../pod/pod_shape.ts';
import type { Json } from '../pod/shape.ts';
import type { EnvVar } from '../pod/types.ts';
import { proxyConfigText } from '../proxy_config_text.ts';

/** A variable with a fixed value; an empty one has no `value`, as Kubernetes writes it. */
export function variable(name: string, value: string): EnvVar {
  return value === '' ? { name } : { name, value };
}

/** A variable that the kubelet fills from a field of the pod. */
export function fieldVariable(name: string, fieldPath: string): EnvVar {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

function limitVariable(name: string, resource: string): EnvVar {
  return { name, valueFrom: { resourceFieldRef: { divisor: '1', resource } } };
}

/** Who the pod is, as the kubelet knows it. */
export const identity: readonly EnvVar[] = [
  fieldVariable('POD_NAME', 'metadata.name'),
  fieldVariable('POD_NAMESPACE', 'metadata.namespace'),
  fieldVariable('INSTANCE_IP', 'status.podIP'),
  fieldVariable('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
  fieldVariable('HOST_IP', 'status.hostIP'),
];

/** Where certificates come from. */
export function certificateAuthority({ values }: InjectionContext): EnvVar[] {
  const { pilotCertProvider, caAddress, istioNamespace } = values.global;
  const service = values.revision === '' ? 'istiod' : `istiod-${values.revision}`;
  const address = caAddress === '' ? `${service}.${istioNamespace}.svc:15012` : caAddress;
  return [variable('PILOT_CERT_PROVIDER', pilotCertProvider), variable('CA_ADDR', address)];
}

/** The application's ports as JSON, one in a line. */
export function podPorts({ spec }: InjectionContext): string {
  const shape = containerShape.fields['ports'];
  const port = shape?.kind === 'list' ? shape.of : containerShape;
  const lines = (spec.containers ?? [])
    .flatMap(({ ports = [] }) => ports)
    .map((value) => orderedJson(value as unknown as Json, port));
  return ['[', ...lines.map((line, index) => `    ${index === 0 ? '' : ','}${line}`), ']'].join('\n');
}

/** Settings, ports and containers of the pod. */
export function description(context: InjectionContext): EnvVar[] {
  return [
    variable('PROXY_CONFIG', `${proxyConfigText(context.proxyConfig, context.compatibility)}\n`),
    variable('ISTIO_META_POD_PORTS', podPorts(context)),
    variable('ISTIO_META_APP_CONTAINERS', applicationContainers(context).join(',')),
  ];
}

/** `ISTIO_META_CLUSTER_ID`. */
export function cluster({ values }: InjectionContext): EnvVar {
  const { clusterName } = values.global.multiCluster;
  return variable('ISTIO_META_CLUSTER_ID', clusterName === '' ? 'Kubernetes' : clusterName);
}

/** Network, workload, owner, mesh and trust domain. */
export function workload(context: InjectionContext): EnvVar[] {
  const { metadata, owner, values } = context;
  const { network, meshID } = values.global;
  const label = metadata.labels?.['service.istio.io/workload-name'] ?? '';
  const name = label === '' ? owner.name : label;
  const domain = trustDomain(context);
  const mesh = meshID === '' ? domain : meshID;
  const result: EnvVar[] = [];
  if (network !== '') result.push(variable('ISTIO_META_NETWORK', network));
  if (name !== '') result.push(variable('ISTIO_META_WORKLOAD_NAME', name));
  if (owner.apiVersion !== '' && owner.name !== '') {
    const namespace = owner.namespace === '' ? 'default' : owner.namespace;
    const path = `${owner.apiVersion}/namespaces/${namespace}/${owner.kind.toLowerCase()}s/${owner.name}`;
    result.push(variable('ISTIO_META_OWNER', `kubernetes://apis/${path}`));
  }
  if (Object.hasOwn(metadata.annotations ?? {}, 'sidecar.istio.io/bootstrapOverride'))
    result.push(variable('ISTIO_BOOTSTRAP_OVERRIDE', '/etc/istio/custom-bootstrap/custom_bootstrap.json'));
  if (mesh !== '') result.push(variable('ISTIO_META_MESH_ID', mesh));
  if (domain !== '') result.push(variable('TRUST_DOMAIN', domain));
  return result;
}

/** `proxyMetadata` of ProxyConfig, by name. */
export function proxyMetadata({ proxyConfig }: InjectionContext): EnvVar[] {
  return Object.entries(proxyConfig.proxyMetadata)
    .sort(([first], [second]) => (first < second ? -1 : 1))
    .map(([name, value]) => variable(name, value));
}

/** `apm.datadoghq.com/env`: a JSON object of variables, for the tracer `datadog`. */
function datadog({ values, metadata }: InjectionContext): EnvVar[] {
  const text = metadata.annotations?.['apm.datadoghq.com/env'];
  if (values.global.proxy.tracer !== 'datadog' || text === undefined) return [];
  return Object.entries(JSON.parse(text) as Record<string, unknown>)
    .sort(([first], [second]) => (first < second ? -1 : 1))
    .map(([name, value]) => variable(name, String(value)));
}

function compliance({ compliancePolicy = '' }: InjectionContext): EnvVar[] {
  if (compliancePolicy === '') return [];
  const policy = variable('COMPLIANCE_POLICY', compliancePolicy);
  return compliancePolicy === 'fips-140-3' ? [policy, variable('GODEBUG', 'fips140=only')] : [policy];
}

function resourceAttributes(context: InjectionContext): EnvVar[] {
  const text = otelResourceAttributes(context);
  return text === undefined ? [] : [variable('OTEL_RESOURCE_ATTRIBUTES', text)];
}

function localhostProbes({ mesh }: InjectionContext): EnvVar[] {
  const local = mesh.inboundTrafficPolicy.mode === 'LOCALHOST';
  return local ? [variable('REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION', 'true')] : [];
}

/** All variables of a sidecar, in order. */
export function proxyEnv(context: InjectionContext): EnvVar[] {
  if (context.compatibility === '1.8') return proxyEnv18(context);
  return [
    ...localhostProbes(context),
    ...certificateAuthority(context),
    ...identity,
    limitVariable('ISTIO_CPU_LIMIT', 'limits.cpu'),
    ...description(context),
    limitVariable('GOMEMLIMIT', 'limits.memory'),
    ...compliance(context),
    cluster(context),
    fieldVariable('ISTIO_META_NODE_NAME', 'spec.nodeName'),
    variable('ISTIO_META_INTERCEPTION_MODE', interceptionMode(context)),
    ...workload(context),
    ...datadog(context),
    ...resourceAttributes(context),
    ...proxyMetadata(context),
  ];
}

/** Release 1.8: without limits and node, with the canonical name as variables. */
function proxyEnv18(context: InjectionContext): EnvVar[] {
  return [
    variable('JWT_POLICY', 'first-party-jwt'),
    ...certificateAuthority(context),
    ...identity,
    fieldVariable('CANONICAL_SERVICE', "metadata.labels['service.istio.io/canonical-name']"),
    fieldVariable('CANONICAL_REVISION', "metadata.labels['service.istio.io/canonical-revision']"),
    ...description(context),
    cluster(context),
    variable('ISTIO_META_INTERCEPTION_MODE', interceptionMode(context)),
    ...workload(context),
    ...datadog(context),
    ...proxyMetadata(context),
  ];
}
