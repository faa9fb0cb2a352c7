/** `trysail install` and `trysail uninstall`: the control plane into a cluster and out of it. */
import { Command } from 'commander';
import {
  applyManifest,
  foreignObjects,
  serverVersion,
  waitForDeployment,
  waitForKind,
} from '#install/apply.ts';
import {
  type InstallOptions,
  type Manifest,
  controlPlaneManifests,
  gatewayManifests,
  namesOf,
} from '#install/manifests.ts';
import { removeInstallation } from '#install/remove.ts';
import { listTags, withoutTaken } from '#install/revision_tags.ts';
import { KubeClient } from '#kube/client.ts';
import { commandAccess } from './kube_client.ts';
import { type Env, UsageError } from './main.ts';
import { type InstallFlags, addInstallOptions, readFlags, render } from './manifest.ts';

/** Flags that say which cluster. */
export interface AccessFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** Longest wait for the control plane, and for the gateway after it. */
const readyTimeoutMs = 300_000;
/** Longest wait for the server to serve a kind. */
const kindTimeoutMs = 60_000;

/** For command lines written for istioctl. */
const confirmation = 'taken and without effect: nothing is asked';

/** Runs with a client and closes it. */
export async function withClient(
  flags: AccessFlags,
  env: Env,
  run: (client: KubeClient) => Promise<void>,
): Promise<void> {
  const client = new KubeClient({ access: await commandAccess(env, flags.kubeconfig, flags.context) });
  try {
    await run(client);
  } finally {
    client.close();
  }
}

/** Adds the flags of `AccessFlags`. */
export function addAccess(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'access to the cluster; default $KUBECONFIG')
    .option('--context <name>', 'context of the kubeconfig');
}

async function applyAll(client: KubeClient, manifests: readonly Manifest[]): Promise<void> {
  for (const manifest of manifests) {
    const done = await applyManifest(client, manifest);
    process.stdout.write(`${manifest.kind} ${manifest.metadata.name}: ${done}\n`);
  }
  for (const manifest of manifests)
    if (manifest.kind === 'CustomResourceDefinition') await waitForKind(client, manifest, kindTimeoutMs);
}

interface InstallCommandFlags extends InstallFlags, AccessFlags {
  readonly wait: boolean;
}

async function install(client: KubeClient, flags: InstallCommandFlags): Promise<void> {
  const values = await readFlags(flags);
  const namespace = flags.istioNamespace;
  const options: InstallOptions = { namespace, values, kubeVersion: await serverVersion(client) };
  const controlPlane = render(options, controlPlaneManifests);
  const gateway = render(options, gatewayManifests);
  const foreign = await foreignObjects(client, [...controlPlane, ...gateway]);
  if (foreign.length > 0)
    throw new UsageError(
      `another installation is there (${foreign.join(', ')}): remove it first, or choose another namespace`,
    );
  const { revision } = values.istiod;
  const names = namesOf(typeof revision === 'string' ? revision : '');
  const tags = await listTags(client, namespace);
  await applyAll(client, withoutTaken(controlPlane, tags));
  if (flags.wait) {
    await waitForDeployment(client, namespace, names.controlPlane, readyTimeoutMs);
    process.stdout.write('the control plane is available\n');
  }
  await applyAll(client, gateway);
  if (!flags.wait) return;
  for (const { kind, metadata } of gateway) {
    if (kind !== 'Deployment') continue;
    await waitForDeployment(client, namespace, metadata.name, readyTimeoutMs);
    process.stdout.write(`the gateway ${metadata.name} is available\n`);
  }
}

/** Exit code 0 once the control plane, and the gateway if there is one, are available. */
export function installCommand(env: Env): Command {
  return addAccess(
    addInstallOptions(
      new Command('install').description('install the control plane and wait until it is available'),
    ),
  )
    .option('--no-wait', 'end when all is applied')
    .option('-y, --skip-confirmation', confirmation)
    .action((flags: InstallCommandFlags) => withClient(flags, env, (client) => install(client, flags)));
}

interface UninstallFlags extends AccessFlags {
  readonly istioNamespace: string;
  readonly revision?: string;
  readonly purge?: boolean;
}

/** Exit code 0 also when nothing was there. */
export function uninstallCommand(env: Env): Command {
  return addAccess(new Command('uninstall').description('remove the control plane'))
    .option('-i, --istioNamespace <name>', 'namespace of the control plane', 'istio-system')
    .option('-r, --revision <name>', 'only this revision, with its tags')
    .option('-y, --skip-confirmation', confirmation)
    .option(
      '--purge',
      'also the kinds with all their objects, what the control plane wrote, and the namespace if install made it',
    )
    .action((flags: UninstallFlags) =>
      withClient(flags, env, async (client) => {
        const { istioNamespace: namespace, revision, purge = false } = flags;
        if (purge && revision !== undefined)
          throw new UsageError('--purge removes all revisions: leave --revision out');
        const removed = await removeInstallation(
          client,
          { namespace, purge, ...(revision === undefined ? {} : { revision }) },
          (object) => process.stdout.write(`${object}: removed\n`),
        );
        process.stdout.write(`${removed} objects removed\n`);
      }),
    );
}
