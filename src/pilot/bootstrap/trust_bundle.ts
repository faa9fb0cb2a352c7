/** ConfigMap `istio-ca-root-cert` in every namespace: how pods that were just made know the authority (Istio 4.23). */
import { Backoff } from '#base/backoff.ts';
import { type Logger, silentLogger } from '#base/log.ts';
import type { ConfigStore } from '#config/store/store.ts';
import type { KubeClient } from '#kube/client.ts';
import { hasStatus, KubeError } from '#kube/kube_error.ts';
import { type KubeObject, apiResources } from '#kube/object.ts';
import { Reflector } from '#kube/reflector.ts';

/** Name of the ConfigMap and of its key. */
export const trustBundle = { name: 'istio-ca-root-cert', key: 'root-cert.pem' } as const;

/** Namespaces without workloads of a mesh; none is written there. */
const ignoredNamespaces: ReadonlySet<string> = new Set([
  'kube-system',
  'kube-public',
  'kube-node-lease',
  'local-path-storage',
]);

/** ConfigMaps written at one time. */
const concurrency = 5;

/** What is written, and where. */
export interface TrustBundleOptions {
  readonly client: KubeClient;
  /** Its Namespaces are those that get one. */
  readonly store: ConfigStore;
  readonly authority: { readonly rootPem: string; subscribe(listener: () => void): () => void };
  /** Whether a namespace is part of the mesh. Default all are. */
  readonly selects?: (namespace: string) => boolean;
  readonly log?: Logger;
}

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

/** Writes the bundle where it lacks or differs, until the signal: the work of one leader. */
export async function writeTrustBundles(options: TrustBundleOptions, signal: AbortSignal): Promise<void> {
  const { client, store, authority, selects = () => true } = options;
  const log = (options.log ?? silentLogger).scope('trust_bundle');
  const queue = new Set<string>();
  const busy = new Set<string>();
  const backoffs = new Map<string, Backoff>();
  let wake = (): void => {};

  const add = (namespace: string): void => {
    queue.add(namespace);
    wake();
  };
  const addAll = (): void => {
    for (const { metadata } of store.list('Namespace')) add(metadata.name);
  };

  const written = new Reflector<{ readonly namespace: string; readonly root: string | undefined }>({
    client,
    resource: apiResources.configMaps,
    fieldSelector: `metadata.name=${trustBundle.name}`,
    log,
    read: (object) => ({
      namespace: object.metadata.namespace ?? '',
      root: (object as ConfigMap).data?.[trustBundle.key],
    }),
    onChanges: (changes) => changes.forEach(({ value }) => add(value.namespace)),
  });

  async function write(namespace: string): Promise<void> {
    const object = store.get('Namespace', '', namespace);
    const { rootPem } = authority;
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return;
    if (ignoredNamespaces.has(namespace) || !selects(namespace)) return;
    const present = written.get(namespace, trustBundle.name);
    if (present?.root === rootPem) return;
    const metadata = { name: trustBundle.name, namespace, labels: { 'istio.io/config': 'true' } };
    const data = { [trustBundle.key]: rootPem };
    if (present === undefined) {
      const bundle: ConfigMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
      try {
        await client.create(apiResources.configMaps, namespace, bundle, { signal });
        log.debug('trust bundle written', { namespace });
        return;
      } catch (error) {
        if (!hasStatus(error, 409)) throw error;
      }
    }
    const patch = { metadata: { labels: metadata.labels }, data };
    await client.patch(apiResources.configMaps, namespace, trustBundle.name, 'merge', patch, { signal });
    log.info('trust bundle repaired', { namespace });
  }

  async function handle(namespace: string): Promise<void> {
    try {
      await write(namespace);
      backoffs.delete(namespace);
    } catch (error) {
      if (signal.aborted || isEnding(error)) return;
      let backoff = backoffs.get(namespace);
      if (backoff === undefined)
        backoffs.set(namespace, (backoff = new Backoff({ baseMs: 500, maxMs: 60_000 })));
      log.warn('trust bundle not written, trying again', { namespace, error });
      setTimeout(() => add(namespace), backoff.next()).unref();
    } finally {
      busy.delete(namespace);
      wake();
    }
  }

  const stopRoots = authority.subscribe(addAll);
  const stopNamespaces = store.subscribe((changes) => {
    for (const { type, resource } of changes) {
      if (resource.kind === 'Namespace' && type !== 'delete') add(resource.metadata.name);
    }
  });
  const stop = (): void => {
    // Resolves what waits for the first list, too.
    void written.close();
    wake();
  };
  signal.addEventListener('abort', stop, { once: true });
  written.start();
  try {
    await written.synced();
    addAll();
    while (!signal.aborted) {
      for (const namespace of queue) {
        if (busy.size >= concurrency) break;
        if (busy.has(namespace)) continue;
        queue.delete(namespace);
        busy.add(namespace);
        void handle(namespace);
      }
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    stopRoots();
    stopNamespaces();
    await written.close();
  }
}

/** The namespace is going or gone: nothing is to be written there any more. */
function isEnding(error: unknown): boolean {
  if (hasStatus(error, 404)) return true;
  return error instanceof KubeError && error.status === 403 && error.message.includes('being terminated');
}
