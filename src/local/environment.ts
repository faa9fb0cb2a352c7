/** Environment of an application's process: what the kubelet makes of `env` of a container. */
import type { ConfigMapBody, Container, EnvVar, SecretBody } from '#config/kinds/kubernetes/types.ts';
import type { Resource } from '#config/resource.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { runtimeLabels } from './pod_objects.ts';
import type { PlannedPod } from './workloads.ts';

/** `metadata.labels['app']` and the like (Kubernetes downward API); undefined for what is not offered. */
function fieldValue(path: string, pod: PlannedPod, ip: string): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed !== null) {
    const map = keyed[1] === 'labels' ? runtimeLabels(pod) : pod.annotations;
    return map[keyed[2] ?? ''] ?? '';
  }
  switch (path) {
    case 'metadata.name':
      return pod.name;
    case 'metadata.namespace':
      return pod.namespace;
    case 'metadata.uid':
      return `${pod.namespace}-${pod.name}`;
    case 'spec.serviceAccountName':
      return pod.serviceAccount;
    case 'spec.nodeName':
      return 'localhost';
    case 'status.podIP':
    case 'status.podIPs':
      return ip;
    case 'status.hostIP':
      return '127.0.0.1';
    default:
      return undefined;
  }
}

function valueOf(variable: EnvVar, pod: PlannedPod, ip: string, store: ConfigStore): string | undefined {
  if (variable.value !== undefined) return variable.value;
  const { fieldRef, configMapKeyRef, secretKeyRef } = variable.valueFrom ?? {};
  if (fieldRef !== undefined) return fieldValue(fieldRef.fieldPath, pod, ip);
  if (configMapKeyRef !== undefined) {
    const map = store.get('ConfigMap', pod.namespace, configMapKeyRef.name ?? '') as
      | Resource<ConfigMapBody>
      | undefined;
    return map?.body.data?.[configMapKeyRef.key];
  }
  if (secretKeyRef !== undefined) {
    const secret = store.get('Secret', pod.namespace, secretKeyRef.name ?? '') as
      | Resource<SecretBody>
      | undefined;
    const encoded = secret?.body.data?.[secretKeyRef.key];
    return encoded === undefined
      ? secret?.body.stringData?.[secretKeyRef.key]
      : Buffer.from(encoded, 'base64').toString('utf8');
  }
  return '';
}

/** Variables of a container with `$(NAME)` references expanded in order; what cannot be resolved is left out. */
export function containerEnvironment(
  container: Container,
  pod: PlannedPod,
  ip: string,
  store: ConfigStore,
): Record<string, string> {
  const result: Record<string, string> = {};
  for (const variable of container.env ?? []) {
    const value = valueOf(variable, pod, ip, store);
    if (value === undefined) continue;
    result[variable.name] = value.replace(
      /\$\(([A-Za-z_][A-Za-z0-9_]*)\)/g,
      (text, name: string) => result[name] ?? text,
    );
  }
  return result;
}
