/** The injector's settings as a cluster keeps them: two ConfigMaps, a webhook's revision, and the kubelets' versions. */
import type { ProxyConfigObject } from '#config/kinds/proxy_config/types.ts';
import { proxyConfigSpec } from '#config/kinds/proxy_config/validate.ts';
import { Checker } from '#config/schema/checker.ts';
import { withoutNulls } from '#config/schema/schema.ts';
import type { ScopedProxyConfig } from '#inject/proxy_configs.ts';
import { KubeClient } from '#kube/client.ts';
import { KubeError } from '#kube/kube_error.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { commandAccess, kubeConfigPaths } from './kube_client.ts';
import type { Env } from './main.ts';

/** What the cluster says; absent where it has no such object. */
export interface ClusterTexts {
  readonly mesh?: string;
  readonly values?: string;
  readonly injectConfig?: string;
  readonly revision?: string;
  readonly kubeletVersions?: readonly string[];
  readonly proxyConfigs?: readonly ScopedProxyConfig[];
  /** Why the cluster was left out. */
  readonly warning?: string;
}

/** Where to look. */
export interface ClusterQuery {
  readonly namespace: string;
  /** Empty: the ConfigMaps without a revision in their names. */
  readonly revision: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly meshConfigMap?: string;
  readonly injectConfigMap?: string;
  readonly webhookConfig?: string;
  /** A cluster that does not answer is an error; otherwise it is left out. */
  readonly required: boolean;
}

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

interface KubeNode extends KubeObject {
  readonly status?: { readonly nodeInfo?: { readonly kubeletVersion?: string } };
}

const nodes = apiResource('v1', 'nodes', false);
const proxyConfigResource = apiResource('networking.istio.io/v1beta1', 'proxyconfigs', true);
const webhooks = apiResource('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', false);

/** Shorter than the client's own patience: a person waits. */
const timeoutMs = 10_000;
/** Nodes are asked for in pages of this size. */
const pageSize = 500;
const maxPages = 100;

async function kubeletVersions(client: KubeClient): Promise<string[]> {
  const versions: string[] = [];
  let next: string | undefined;
  for (let page = 0; page < maxPages; page++) {
    const list = await client.listPage<KubeNode>(nodes, {
      limit: pageSize,
      ...(next === undefined ? {} : { continue: next }),
    });
    versions.push(...list.items.map(({ status }) => status?.nodeInfo?.kubeletVersion ?? ''));
    next = list.metadata.continue;
    if (next === undefined || next === '') return versions;
  }
  throw new Error('the cluster has more nodes than can be read');
}

/** All ProxyConfigs that are valid; none where the cluster does not know the kind or does not let us read it. */
async function proxyConfigs(client: KubeClient): Promise<ScopedProxyConfig[]> {
  const found: ScopedProxyConfig[] = [];
  let next: string | undefined;
  try {
    for (let page = 0; page < maxPages; page++) {
      const list = await client.listPage<KubeObject & { readonly spec?: unknown }>(proxyConfigResource, {
        limit: pageSize,
        ...(next === undefined ? {} : { continue: next }),
      });
      for (const { metadata, spec = {} } of list.items) {
        const { name = '', namespace = '', creationTimestamp } = metadata;
        const checker = new Checker({ name, namespace });
        const read = withoutNulls(spec);
        proxyConfigSpec.check(read, checker);
        if (checker.errorCount > 0) continue;
        const created = typeof creationTimestamp === 'string' ? Date.parse(creationTimestamp) : 0;
        found.push({ name, namespace, creationTimestamp: created, spec: read as ProxyConfigObject });
      }
      next = list.metadata.continue;
      if (next === undefined || next === '') break;
    }
  } catch (error) {
    if (error instanceof KubeError && (error.status === 404 || error.status === 403)) return [];
    throw error;
  }
  return found;
}

async function data(
  client: KubeClient,
  namespace: string,
  name: string,
  required: boolean,
): Promise<Readonly<Record<string, string>>> {
  const found = await client.find<ConfigMap>(apiResources.configMaps, namespace, name);
  if (found === undefined && required) throw new Error(`no ConfigMap ${namespace}/${name}`);
  return found?.data ?? {};
}

async function readAll(client: KubeClient, query: ClusterQuery): Promise<ClusterTexts> {
  const { namespace, webhookConfig } = query;
  let { revision } = query;
  if (webhookConfig !== undefined) {
    const webhook = await client.find<KubeObject>(webhooks, undefined, webhookConfig);
    if (webhook === undefined) throw new Error(`no MutatingWebhookConfiguration ${webhookConfig}`);
    revision = webhook.metadata.labels?.['istio.io/rev'] ?? revision;
  }
  const suffix = revision === '' || revision === 'default' ? '' : `-${revision}`;
  const [mesh, injector, versions, configs] = await Promise.all([
    data(client, namespace, query.meshConfigMap ?? `istio${suffix}`, query.meshConfigMap !== undefined),
    data(
      client,
      namespace,
      query.injectConfigMap ?? `istio-sidecar-injector${suffix}`,
      query.injectConfigMap !== undefined,
    ),
    kubeletVersions(client),
    proxyConfigs(client),
  ]);
  const { config, values } = injector;
  return {
    ...(mesh['mesh'] === undefined ? {} : { mesh: mesh['mesh'] }),
    ...(values === undefined ? {} : { values }),
    ...(config === undefined ? {} : { injectConfig: config }),
    ...(revision === '' ? {} : { revision }),
    kubeletVersions: versions,
    proxyConfigs: configs,
  };
}

/** Reads the settings; nothing when there is no cluster, or none that answers and none is required. */
export async function readClusterTexts(query: ClusterQuery, env: Env): Promise<ClusterTexts> {
  if (!query.required && kubeConfigPaths(env).length === 0) return {};
  let client: KubeClient | undefined;
  try {
    const access = await commandAccess(env, query.kubeconfig, query.context);
    client = new KubeClient({ access, timeoutMs, maxTries: query.required ? 3 : 1 });
    return await readAll(client, query);
  } catch (error) {
    if (query.required || (error instanceof KubeError && error.code === 'http')) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    return { warning: `the cluster does not answer, settings are the defaults: ${reason}` };
  } finally {
    client?.close();
  }
}
