/** `trysail kube-inject`: sidecars for the workloads of a manifest, with a cluster's settings or without a cluster. */
import { readFile, writeFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { Command, Option } from 'commander';
import { compatibilityVersions } from '#inject/compatibility.ts';
import type { Compatibility } from '#inject/context.ts';
import { injectManifest } from '#inject/kube_inject.ts';
import { nativeSidecars } from '#inject/native_sidecars.ts';
import { ProxyConfigs } from '#inject/proxy_configs.ts';
import { type ReadSettings, readSettings } from '#inject/settings.ts';
import type { ClusterTexts } from './cluster_settings.ts';
import { type Env, UsageError, version } from './main.ts';

interface Flags {
  readonly filename?: string;
  readonly output?: string;
  readonly meshConfigFile?: string;
  readonly valuesFile?: string;
  readonly injectConfigFile?: string;
  readonly operatorFileName?: string;
  readonly meshConfigMapName?: string;
  readonly injectConfigMapName?: string;
  readonly webhookConfig?: string;
  readonly revision?: string;
  readonly compatibilityVersion: Compatibility;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly istioNamespace: string;
}

/** Reads a file; a missing one is told as Istio tells it. */
async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new Error(`open ${path}: no such file or directory`, { cause: error });
    throw error;
  }
}

async function readOptional(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : await readText(path);
}

/** The settings of the cluster, unless files say everything; only flags that name something in it insist on one. */
async function clusterTexts(flags: Flags, env: Env): Promise<ClusterTexts> {
  const { kubeconfig, context, meshConfigMapName, injectConfigMapName, webhookConfig } = flags;
  const names = [kubeconfig, context, meshConfigMapName, injectConfigMapName, webhookConfig];
  const required = names.some((name) => name !== undefined);
  const files = [flags.meshConfigFile, flags.valuesFile, flags.injectConfigFile, flags.operatorFileName];
  const offline = files.some((file) => file !== undefined) || flags.compatibilityVersion !== 'current';
  if (offline && !required) return {};
  const { readClusterTexts } = await import('./cluster_settings.ts');
  const query = {
    namespace: flags.istioNamespace,
    revision: flags.revision ?? '',
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
    ...(meshConfigMapName === undefined ? {} : { meshConfigMap: meshConfigMapName }),
    ...(injectConfigMapName === undefined ? {} : { injectConfigMap: injectConfigMapName }),
    ...(webhookConfig === undefined ? {} : { webhookConfig }),
    required,
  };
  return await readClusterTexts(query, env);
}

async function settingsOf(flags: Flags, env: Env): Promise<ReadSettings> {
  const cluster = await clusterTexts(flags, env);
  if (cluster.warning !== undefined) process.stderr.write(`Warning: ${cluster.warning}\n`);
  const mesh = (await readOptional(flags.meshConfigFile)) ?? cluster.mesh;
  const values = (await readOptional(flags.valuesFile)) ?? cluster.values;
  const injectConfig = (await readOptional(flags.injectConfigFile)) ?? cluster.injectConfig;
  const operator = await readOptional(flags.operatorFileName);
  const revision = flags.revision ?? cluster.revision;
  const read = readSettings({
    ...(mesh === undefined ? {} : { mesh }),
    ...(values === undefined ? {} : { values }),
    ...(injectConfig === undefined ? {} : { injectConfig }),
    ...(operator === undefined ? {} : { operator }),
    ...(revision === undefined ? {} : { revision }),
    nativeSidecars: nativeSidecars(env['ENABLE_NATIVE_SIDECARS'], cluster.kubeletVersions ?? []),
    ...(env['COMPLIANCE_POLICY'] === undefined ? {} : { compliancePolicy: env['COMPLIANCE_POLICY'] }),
    compatibility: flags.compatibilityVersion,
    tag: version(),
  });
  const configs = cluster.proxyConfigs ?? [];
  if (configs.length === 0) return read;
  const { settings } = read;
  const proxyConfigs = new ProxyConfigs(configs, settings.mesh.rootNamespace);
  return { ...read, settings: { ...settings, proxyConfigs } };
}

async function run(flags: Flags, env: Env): Promise<void> {
  const { filename } = flags;
  if (filename === undefined) throw new UsageError('filename not specified (see --filename or -f)');
  const input = filename === '-' ? await readAll(process.stdin) : await readText(filename);
  const { settings, warnings } = await settingsOf(flags, env);
  for (const warning of warnings) process.stderr.write(`Warning: ${warning}\n`);
  const injected = injectManifest(input, filename === '-' ? 'stdin' : filename, settings);
  for (const warning of injected.warnings) process.stderr.write(`===> ${warning}\n`);
  if (flags.output === undefined || flags.output === '' || flags.output === '-')
    process.stdout.write(injected.text);
  else await writeFile(flags.output, injected.text);
}

/** Exit code 0 when all was injected or left out with a reason; 1 when something was wrong; 2 on wrong use. */
export function kubeInjectCommand(env: Env): Command {
  return new Command('kube-inject')
    .description('add sidecars to the workloads of a manifest')
    .option('-f, --filename <file>', 'manifest, - for standard input')
    .option('-o, --output <file>', 'file for the result; default standard output')
    .option('--meshConfigFile <file>', 'mesh configuration, YAML or JSON')
    .option('--valuesFile <file>', "the injector's values, YAML or JSON")
    .option('--injectConfigFile <file>', 'injection configuration with templates, or one template')
    .option('--operatorFileName <file>', 'IstioOperator whose values and meshConfig lie over the rest')
    .option('--meshConfigMapName <name>', 'ConfigMap of the mesh configuration; default istio')
    .option('--injectConfigMapName <name>', "the injector's ConfigMap; default istio-sidecar-injector")
    .option('--webhookConfig <name>', 'MutatingWebhookConfiguration from which the revision is taken')
    .option('-r, --revision <name>', 'revision of the control plane')
    .option('--kubeconfig <file>', 'access to a cluster; default $KUBECONFIG')
    .option('--context <name>', 'context of the kubeconfig')
    .option('-i, --istioNamespace <name>', 'namespace of the control plane', 'istio-system')
    .addOption(
      new Option('--compatibility-version <version>', 'release of Istio that the pod is made for')
        .choices([...compatibilityVersions])
        .default('current'),
    )
    .addOption(new Option('--xds-address <address>').hideHelp())
    .action(async (flags: Flags & { readonly xdsAddress?: string }) => {
      if (flags.xdsAddress !== undefined)
        throw new UsageError('--xds-address: settings are read from files or from a cluster only');
      await run(flags, env);
    });
}
