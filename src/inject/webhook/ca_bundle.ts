/** Writes the root into the MutatingWebhookConfigurations of our revision, so that API servers trust the webhook. */
import { Backoff } from '#base/backoff.ts';
import { type Logger, silentLogger } from '#base/log.ts';
import type { KubeClient } from '#kube/client.ts';
import { hasStatus } from '#kube/kube_error.ts';
import { type KubeObject, apiResource } from '#kube/object.ts';
import { Reflector } from '#kube/reflector.ts';

const resource = apiResource('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', false);

/** Label that names the revision; tags of a revision carry it too. */
const revisionLabel = 'istio.io/rev';
/** Ends the names of our webhooks; others in the same object are left alone. */
const injectorSuffix = 'sidecar-injector.istio.io';

/** What is written, and where. */
export interface CaBundleOptions {
  readonly client: KubeClient;
  /** Empty: `default`. */
  readonly revision: string;
  readonly authority: { readonly rootPem: string; subscribe(listener: () => void): () => void };
  readonly log?: Logger;
  /** Wait after a failure in milliseconds, doubling. Default 500 to 60 000. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
}

interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly name: string;
    readonly clientConfig?: { readonly caBundle?: string };
  }[];
}

/**
 * The JSON Patch that gives our webhooks the bundle; empty when they have it. Each change first tests the name at its
 * place: a list that was reordered meanwhile is refused by the server instead of being written wrongly.
 */
export function caBundlePatch(
  { webhooks = [] }: WebhookConfiguration,
  caBundle: string,
): { readonly op: 'test' | 'add'; readonly path: string; readonly value: string }[] {
  return webhooks.flatMap(({ name, clientConfig }, index) =>
    !name.endsWith(injectorSuffix) || clientConfig === undefined || clientConfig.caBundle === caBundle
      ? []
      : [
          { op: 'test' as const, path: `/webhooks/${index}/name`, value: name },
          { op: 'add' as const, path: `/webhooks/${index}/clientConfig/caBundle`, value: caBundle },
        ],
  );
}

/** Writes the bundle where it lacks or differs, until the signal: the work of one leader. */
export async function writeCaBundles(options: CaBundleOptions, signal: AbortSignal): Promise<void> {
  const { client, authority, revision } = options;
  const log = (options.log ?? silentLogger).scope('ca_bundle');
  const backoff = new Backoff(options.backoff ?? { baseMs: 500, maxMs: 60_000 });
  let wake = (): void => {};
  let dirty = true;
  const touch = (): void => {
    dirty = true;
    wake();
  };
  const configurations = new Reflector<WebhookConfiguration>({
    client,
    resource,
    labelSelector: `${revisionLabel}=${revision === '' ? 'default' : revision}`,
    log,
    read: (object) => object as WebhookConfiguration,
    onChanges: touch,
  });

  async function write(configuration: WebhookConfiguration): Promise<void> {
    const { name } = configuration.metadata;
    const patch = caBundlePatch(configuration, Buffer.from(authority.rootPem).toString('base64'));
    if (patch.length === 0) return;
    try {
      await client.patch(resource, undefined, name, 'json', patch, { signal });
      log.info('caBundle written', { webhook: name });
    } catch (error) {
      // Gone: nothing to write.
      if (!hasStatus(error, 404)) throw error;
    }
  }

  const stopRoots = authority.subscribe(touch);
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    void configurations.close();
    wake();
  };
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  configurations.start();
  try {
    await configurations.synced();
    while (!signal.aborted) {
      if (!dirty) {
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      dirty = false;
      const results = await Promise.allSettled([...configurations.values()].map(write));
      const failed = results.find(({ status }) => status === 'rejected');
      if (failed === undefined) backoff.reset();
      else if (!signal.aborted) {
        const error: unknown = failed.status === 'rejected' ? failed.reason : undefined;
        log.warn('caBundle not written, trying again', { error });
        clearTimeout(timer);
        timer = setTimeout(touch, backoff.next());
        timer.unref();
      }
    }
  } finally {
    clearTimeout(timer);
    stopRoots();
    signal.removeEventListener('abort', stop);
    await configurations.close();
  }
}
