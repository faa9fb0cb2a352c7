/** `trysail install` and `trysail uninstall`: the control plane into a cluster and out of it. */
import { Command } from 'commander';
import { applyManifest, foreignObjects, removeManifests, waitForDeployment } from '#install/apply.ts';
import { controlPlaneName, installManifests } from '#install/manifests.ts';
import { KubeClient } from '#kube/client.ts';
import { hasStatus } from '#kube/kube_error.ts';
import { commandAccess } from './kube_client.ts';
import { type Env, UsageError } from './main.ts';
import { type InstallFlags, addInstallOptions, installOptions } from './manifest.ts';

interface Flags extends InstallFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** Longest wait for the control plane. */
const readyTimeoutMs = 180_000;

async function withClient(
  flags: Flags,
  env: Env,
  run: (client: KubeClient, policyVersion: 'v1' | 'v1beta1') => Promise<void>,
): Promise<void> {
  const client = new KubeClient({ access: await commandAccess(env, flags.kubeconfig, flags.context) });
  try {
    let policyVersion: 'v1' | 'v1beta1' = 'v1';
    try {
      await client.request({ method: 'GET', path: '/apis/policy/v1' });
    } catch (error) {
      if (!hasStatus(error, 404)) throw error;
      policyVersion = 'v1beta1';
    }
    await run(client, policyVersion);
  } finally {
    client.close();
  }
}

function addAccess(command: Command): Command {
  return addInstallOptions(command)
    .option('--kubeconfig <file>', 'access to the cluster; default $KUBECONFIG')
    .option('--context <name>', 'context of the kubeconfig');
}

/** Exit code 0 once the control plane is available. */
export function installCommand(env: Env): Command {
  return addAccess(
    new Command('install').description('install the control plane and wait until it is available'),
  ).action((flags: Flags) =>
    withClient(flags, env, async (client, policyVersion) => {
      const options = installOptions(flags, policyVersion);
      const manifests = installManifests(options);
      const foreign = await foreignObjects(client, manifests);
      if (foreign.length > 0)
        throw new UsageError(
          `another installation is there (${foreign.join(', ')}): remove it first, or choose another namespace`,
        );
      for (const manifest of manifests) {
        const done = await applyManifest(client, manifest);
        process.stdout.write(`${manifest.kind} ${manifest.metadata.name}: ${done}\n`);
      }
      await waitForDeployment(client, options.namespace, controlPlaneName, readyTimeoutMs);
      process.stdout.write('the control plane is available\n');
    }),
  );
}

/** Exit code 0 also when nothing was there. */
export function uninstallCommand(env: Env): Command {
  return addAccess(new Command('uninstall').description('remove the control plane'))
    .option(
      '--purge',
      'also the kinds with all their objects, the trust bundles, and the namespace if install made it',
    )
    .action((flags: Flags & { readonly purge?: boolean }) =>
      withClient(flags, env, async (client, policyVersion) => {
        const manifests = installManifests(installOptions(flags, policyVersion));
        const removed = await removeManifests(client, manifests, flags.purge ?? false);
        process.stdout.write(`${removed} objects removed\n`);
      }),
    );
}
