/** Where `pilot-discovery` reads from: a MeshConfig file, a folder, a cluster, in this order. */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '#base/log.ts';
import { meshConfigMapName, meshConfigOf } from '#config/mesh_config/config_map.ts';
import type { EffectiveMeshConfig } from '#config/mesh_config/defaults.ts';
import { createAggregateStore } from '#config/store/aggregate.ts';
import { openFileStore } from '#config/store/file.ts';
import type { ConfigStore } from '#config/store/store.ts';
import type { KubeAccess } from '#kube/access.ts';
import { accountDirectory, inClusterAccess } from '#kube/in_cluster.ts';
import { kubeConfigAccess } from '#kube/kube_config.ts';
import { type Cluster, openCluster } from '#pilot/bootstrap/kubernetes.ts';
import { openMeshConfigFile } from '#pilot/bootstrap/mesh_config_file.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import { type Env, UsageError, version } from './main.ts';

/** Flags that say where to read. */
export interface SourceFlags {
  readonly configDir?: string;
  readonly meshConfig: string;
  readonly namespace: string;
  readonly kubeconfig?: string;
  /** Comma separated; undefined when the flag was not given. */
  readonly registries?: string;
}

/** All sources as one. */
export interface Sources {
  readonly store: ConfigStore;
  /** Absent when no cluster is read. */
  readonly cluster: Cluster | undefined;
  /** MeshConfig in force. */
  meshConfig(): EffectiveMeshConfig;
  close(): Promise<void>;
}

/** True in a pod: the kubelet has set the address of the API server and mounted an account. */
export function isInCluster(env: Env): boolean {
  return (env['KUBERNETES_SERVICE_HOST'] ?? '') !== '' && existsSync(join(accountDirectory, 'token'));
}

/**
 * How the cluster is reached; undefined when none is to be read. Without `--registries` it is read where a kubeconfig is
 * named, and in a pod that was given no folder.
 */
async function readAccess(flags: SourceFlags, env: Env): Promise<KubeAccess | undefined> {
  const { kubeconfig, configDir } = flags;
  const inCluster = isInCluster(env);
  const implied = kubeconfig !== undefined || (inCluster && configDir === undefined) ? 'Kubernetes' : '';
  const registries = (flags.registries ?? implied).split(',').filter((name) => name !== '');
  const other = registries.find((name) => name !== 'Kubernetes');
  if (other !== undefined)
    throw new UsageError(`--registries: ${JSON.stringify(other)} is none of Kubernetes`);
  if (registries.length === 0) {
    if (configDir !== undefined) return undefined;
    throw new UsageError('--configDir or --kubeconfig says where the configuration is');
  }
  if (kubeconfig !== undefined) {
    try {
      return await kubeConfigAccess({ paths: kubeconfig.split(':'), environment: env });
    } catch (error) {
      throw new UsageError(`--kubeconfig: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (!inCluster) throw new UsageError('--registries Kubernetes needs --kubeconfig outside of a cluster');
  return await inClusterAccess({
    host: env['KUBERNETES_SERVICE_HOST'] ?? '',
    port: env['KUBERNETES_SERVICE_PORT'] ?? '443',
  });
}

/** Opens the sources; resolves when all have been read. @throws UsageError */
export async function openSources(
  flags: SourceFlags,
  env: Env,
  log: Logger,
  metrics: MetricsRegistry,
): Promise<Sources> {
  const { namespace, configDir } = flags;
  const access = await readAccess(flags, env);
  const configMapName = meshConfigMapName(env['REVISION'] ?? '');
  const mesh = await openMeshConfigFile(
    flags.meshConfig,
    { namespace, name: configMapName },
    log.scope('mesh'),
  );
  const files =
    configDir === undefined
      ? undefined
      : await openFileStore({
          paths: [configDir],
          log: log.scope('config'),
          onProblem: (errors) => {
            for (const { file, line, column, path, message } of errors) {
              log
                .scope('config')
                .error(`${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`);
            }
          },
        });
  const local = [mesh.store, ...(files === undefined ? [] : [files])];
  const findMesh = (stores: readonly ConfigStore[]) => {
    for (const store of stores) {
      const found = store.get('ConfigMap', namespace, configMapName);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const cluster =
    access === undefined
      ? undefined
      : openCluster({
          access,
          namespace,
          configMapName,
          // Without the right to read them there is no use in asking again and again.
          secrets: env['PILOT_READ_SECRETS'] !== 'false',
          identity: env['POD_NAME'] ?? `${hostname()}-${process.pid}`,
          version: version(),
          metrics,
          log,
          meshConfig() {
            const found = findMesh(local);
            return found === undefined ? undefined : meshConfigOf(found);
          },
        });
  // Selectors of namespaces stand in MeshConfig, which may be a file.
  const stops = local.map((store) =>
    store.subscribe((changes) => {
      if (changes.some(({ resource }) => resource.kind === 'ConfigMap')) cluster?.store.refresh();
    }),
  );
  const stores: ConfigStore[] = cluster === undefined ? local : [...local, cluster.store];
  const store = createAggregateStore(stores);
  await cluster?.whenSynced();
  return {
    store,
    cluster,
    meshConfig: () => meshConfigOf(findMesh(stores)),
    async close() {
      for (const stop of stops) stop();
      store.close();
      await cluster?.close();
      await files?.close();
      mesh.close();
    },
  };
}
