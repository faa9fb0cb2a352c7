/** The command line, environment and files of a sidecar on this machine: those of an injected pod, with local addresses. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TokenIssuer } from '#security/authn/token_issuer.ts';
import type { HostDriver, PodHost } from './host_driver.ts';
import { runtimeLabels } from './pod_objects.ts';
import type { PlannedPod } from './workloads.ts';

export interface SidecarSettings {
  readonly nodePath: string;
  /** Folder of the package: where `bin/trysail` is. */
  readonly packageRoot: string;
  readonly trustDomain: string;
  readonly rootCertificate: string;
  readonly driver: HostDriver;
  readonly dataPlane: 'built_in' | 'envoy';
  readonly envoyPath: string | undefined;
  readonly xdsProtocol: 'sotw' | 'delta';
  /** What every process gets (PATH, HOME). */
  readonly baseEnvironment: Readonly<Record<string, string>>;
  /** Owner of the pod's files when the sidecar runs as another user. */
  readonly own: (path: string) => void;
}

/** Downward API file: `key="value"` lines. */
function podInfo(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}\n`)
    .join('');
}

/** Writes what the sidecar reads from its pod's volumes. Tokens are renewed by `writeToken`. */
export function writePodFiles(pod: PlannedPod, host: PodHost, settings: SidecarSettings): void {
  const files: [string, string][] = [
    ['root-cert.pem', settings.rootCertificate],
    ['labels', podInfo(runtimeLabels(pod))],
    ['annotations', podInfo(pod.annotations)],
  ];
  for (const [name, text] of files) {
    writeFileSync(join(host.directory, name), text, { mode: 0o600 });
    settings.own(join(host.directory, name));
  }
}

/** A fresh service-account token for the pod (audience istio-ca). */
export async function writeToken(
  pod: PlannedPod,
  host: PodHost,
  issuer: TokenIssuer,
  own: (path: string) => void,
): Promise<void> {
  const path = join(host.directory, 'istio-token');
  const token = await issuer.issue({
    namespace: pod.namespace,
    serviceAccount: pod.serviceAccount,
    podName: pod.name,
  });
  writeFileSync(path, token, { mode: 0o600 });
  own(path);
}

/** Command and environment, with Istio's names. */
export function sidecarCommand(
  pod: PlannedPod,
  host: PodHost,
  settings: SidecarSettings,
): { command: string[]; env: Record<string, string>; cwd: string } {
  const { driver } = settings;
  const discovery = `${driver.controlPlane.host}:${driver.controlPlane.port}`;
  const owner = pod.workload;
  const group = owner.apiVersion === 'v1' ? 'v1' : owner.apiVersion;
  const env: Record<string, string> = {
    ...settings.baseEnvironment,
    POD_NAME: pod.name,
    POD_NAMESPACE: pod.namespace,
    INSTANCE_IP: host.ip,
    HOST_IP: '127.0.0.1',
    SERVICE_ACCOUNT: pod.serviceAccount,
    CA_ADDR: discovery,
    PILOT_CERT_PROVIDER: 'istiod',
    TRUST_DOMAIN: settings.trustDomain,
    PROXY_CONFIG: JSON.stringify({
      discoveryAddress: discovery,
      concurrency: 1,
      terminationDrainDuration: '1s',
    }),
    ISTIO_META_CLUSTER_ID: 'Kubernetes',
    ISTIO_META_MESH_ID: settings.trustDomain,
    ISTIO_META_NODE_NAME: 'localhost',
    ISTIO_META_WORKLOAD_NAME: owner.name,
    ISTIO_META_OWNER: `kubernetes://apis/${group}/namespaces/${pod.namespace}/${owner.kind.toLowerCase()}s/${owner.name}`,
    ISTIO_META_APP_CONTAINERS: pod.containers.map(({ name }) => name).join(','),
    ISTIO_META_POD_PORTS: JSON.stringify(
      host.ports.map(({ containerPort }) => ({ containerPort, protocol: 'TCP' })),
    ),
    TRYSAIL_POD_DIRECTORY: host.directory,
    TRYSAIL_DATA_PLANE: settings.dataPlane,
    TRYSAIL_XDS_PROTOCOL: settings.xdsProtocol,
    ...(settings.envoyPath === undefined ? {} : { TRYSAIL_ENVOY: settings.envoyPath }),
    ...host.sidecarEnv,
  };
  return {
    command: [
      settings.nodePath,
      join(settings.packageRoot, 'bin', 'trysail'),
      'pilot-agent',
      'proxy',
      pod.role,
      '--domain',
      `${pod.namespace}.svc.cluster.local`,
      '--proxyLogLevel=warning',
      '--log_output_level=default:warn',
    ],
    env,
    cwd: settings.packageRoot,
  };
}
