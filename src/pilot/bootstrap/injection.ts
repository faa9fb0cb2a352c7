/** The injection webhook of a control plane: its certificate from our authority, its settings from where they are kept. */
import { type Logger, silentLogger } from '#base/log.ts';
import type { ProxyConfigObject } from '#config/kinds/proxy_config/types.ts';
import { meshConfigMap } from '#config/mesh_config/config_map.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { nativeSidecars } from '#inject/native_sidecars.ts';
import { ProxyConfigs, type ScopedProxyConfig } from '#inject/proxy_configs.ts';
import type { ReviewSettings } from '#inject/review.ts';
import type { SettingsSources } from '#inject/settings.ts';
import { writeCaBundles } from '#inject/webhook/ca_bundle.ts';
import {
  InjectorConfig,
  type InjectorTexts,
  followInjectorConfigMap,
} from '#inject/webhook/injector_config.ts';
import { WebhookServer } from '#inject/webhook/webhook_server.ts';
import type { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { ListenOptions } from './discovery.ts';
import type { Cluster } from './kubernetes.ts';
import { ServingCertificate } from './serving_certificate.ts';

/** Lease of who writes caBundles; each revision writes its own. */
const leaseName = 'istio-webhook-ca-bundle-election';

export interface InjectionOptions {
  /** 15017 in Istio. Default address: all. */
  readonly listen: ListenOptions;
  readonly authority: CertificateAuthority;
  readonly store: ConfigStore;
  /** Absent: the settings are the built-in defaults and the mesh's. */
  readonly cluster?: Cluster | undefined;
  /** Of the control plane. */
  readonly namespace: string;
  /** Empty: `default`. */
  readonly revision: string;
  /** Names and addresses of the server beside those of its Services. */
  readonly extraNames?: readonly string[];
  /** `ENABLE_NATIVE_SIDECARS`: `true`, `false` or `auto`. */
  readonly nativeSidecars?: string | undefined;
  /** Tag of the mesh's own images. */
  readonly tag?: string;
  /** Life of the serving certificate in milliseconds, default 24 h; it is renewed at half of it. */
  readonly certificateTtlMs?: number;
  readonly metrics: MetricsRegistry;
  readonly log?: Logger;
}

/** A running webhook. */
export interface Injection {
  readonly port: number;
  close(): Promise<void>;
}

function dataOf(body: Readonly<Record<string, unknown>> | undefined, key: string): string | undefined {
  const data = body?.['data'] as Readonly<Record<string, unknown>> | undefined;
  const text = data?.[key];
  return typeof text === 'string' ? text : undefined;
}

function kubeletVersions(store: ConfigStore): string[] {
  return store.list('Node').map(({ body }) => {
    const { status } = body as {
      readonly status?: { readonly nodeInfo?: { readonly kubeletVersion?: string } };
    };
    return status?.nodeInfo?.kubeletVersion ?? '';
  });
}

function proxyConfigs(store: ConfigStore, rootNamespace: string): ProxyConfigs {
  const objects = store.list('ProxyConfig').map(({ metadata, body }): ScopedProxyConfig => ({
    name: metadata.name,
    namespace: metadata.namespace,
    creationTimestamp: metadata.creationTimestamp,
    // Objects in the store are valid.
    spec: (body['spec'] ?? {}) as ProxyConfigObject,
  }));
  return new ProxyConfigs(objects, rootNamespace);
}

/**
 * Starts the webhook; resolves when it listens. Until its ConfigMap has been read once it answers 503: nothing is injected by
 * a guess, and a cluster that does not let it be read holds up nothing else.
 * @throws Error when the port is taken
 */
export async function startInjection(options: InjectionOptions): Promise<Injection> {
  const { authority, store, cluster, namespace, metrics, log = silentLogger } = options;
  const revision = options.revision === 'default' ? '' : options.revision;
  const suffix = revision === '' ? '' : `-${revision}`;
  let texts: InjectorTexts = {};
  let config: InjectorConfig | undefined;
  const sources = (): SettingsSources => {
    const ofRevision = store.get('ConfigMap', namespace, `${meshConfigMap.name}${suffix}`);
    const mesh = dataOf(
      (ofRevision ?? store.get('ConfigMap', namespace, meshConfigMap.name))?.body,
      meshConfigMap.key,
    );
    return {
      ...texts,
      ...(mesh === undefined ? {} : { mesh }),
      ...(revision === '' ? {} : { revision }),
      ...(options.tag === undefined ? {} : { tag: options.tag }),
      nativeSidecars: nativeSidecars(options.nativeSidecars, kubeletVersions(store)),
    };
  };
  const follower =
    cluster === undefined
      ? undefined
      : followInjectorConfigMap({
          client: cluster.client,
          namespace,
          revision,
          log,
          onTexts(read) {
            texts = read;
            config?.update(sources());
          },
        });
  const begin = (): void => {
    config = new InjectorConfig(sources(), log);
  };
  if (follower === undefined) begin();
  else {
    log.scope('injection').debug('waiting for the configuration of the injector');
    void follower.synced().then(begin);
  }
  let configs: ProxyConfigs | undefined;
  const unsubscribe = store.subscribe((changes) => {
    if (changes.some(({ resource: { kind } }) => kind === 'ProxyConfig' || kind === 'ConfigMap'))
      configs = undefined;
    if (changes.some(({ resource: { kind } }) => kind === 'ConfigMap' || kind === 'Node'))
      config?.update(sources());
  });
  const settings = (): ReviewSettings | undefined => {
    const current = config?.current;
    if (current === undefined) return undefined;
    const { settings: injector, policy } = current;
    configs ??= proxyConfigs(store, injector.mesh.rootNamespace);
    return {
      injector: { ...injector, proxyConfigs: configs },
      policy,
      namespaceAnnotations: (name) => store.get('Namespace', '', name)?.metadata.annotations,
    };
  };

  let server: WebhookServer | undefined;
  const { tls, renewal } = await ServingCertificate.issue({
    authority,
    names: [
      `istiod${suffix}.${namespace}.svc`,
      ...(suffix === '' ? [] : [`istiod.${namespace}.svc`]),
      `istio-pilot.${namespace}.svc`,
      ...(options.extraNames ?? []),
    ],
    ...(options.certificateTtlMs === undefined ? {} : { ttlMs: options.certificateTtlMs }),
    log: log.scope('injection'),
    onRenew: (renewed) => server?.rotate(renewed),
  });
  server = new WebhookServer({ tls, settings, metrics, log });
  const close = async (): Promise<void> => {
    renewal.close();
    unsubscribe();
    await server.close();
    await follower?.close();
  };
  try {
    const port = await server.listen(options.listen.address ?? '', options.listen.port);
    log
      .scope('injection')
      .info('injection webhook started', { injection: port, revision: revision || 'default' });
    cluster?.elect(`${leaseName}${suffix}`, (signal) =>
      writeCaBundles({ client: cluster.client, revision, authority, log }, signal),
    );
    return { port, close };
  } catch (error) {
    await close();
    throw error;
  }
}
