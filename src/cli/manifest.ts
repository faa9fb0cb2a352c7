/** `trysail manifest generate`, and the choices it shares with `install` and `uninstall`. */
import { Command } from 'commander';
import { stringify } from 'yaml';
import { type InstallOptions, installManifests } from '#install/manifests.ts';
import { type Env, UsageError, version } from './main.ts';

/** Flags of an installation. */
export interface InstallFlags {
  readonly set: readonly string[];
  readonly istioNamespace: string;
}

const pullPolicies = ['Always', 'IfNotPresent', 'Never'];

/** Reads `--set`; a key that is not known is refused by name. @throws UsageError */
export function installOptions(flags: InstallFlags, policyVersion: 'v1' | 'v1beta1'): InstallOptions {
  const given = new Map<string, string>();
  for (const text of flags.set) {
    const equals = text.indexOf('=');
    if (equals < 1) throw new UsageError(`--set: ${JSON.stringify(text)} is not KEY=VALUE`);
    given.set(text.slice(0, equals), text.slice(equals + 1));
  }
  const take = (key: string, otherwise: string): string => {
    const value = given.get(key) ?? otherwise;
    given.delete(key);
    return value;
  };
  const hub = take('global.hub', 'docker.io/trysail');
  const tag = take('global.tag', version());
  const imagePullPolicy = take('global.imagePullPolicy', 'IfNotPresent');
  const replicas = Number(take('pilot.replicaCount', '1'));
  const [unknown] = given.keys();
  if (unknown !== undefined)
    throw new UsageError(
      `--set: ${unknown} is not known (global.hub, global.tag, global.imagePullPolicy, pilot.replicaCount)`,
    );
  if (!pullPolicies.includes(imagePullPolicy))
    throw new UsageError(`--set: global.imagePullPolicy is one of ${pullPolicies.join(', ')}`);
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > 100)
    throw new UsageError('--set: pilot.replicaCount is a number from 1 to 100');
  return { namespace: flags.istioNamespace, hub, tag, imagePullPolicy, replicas, policyVersion };
}

/** Adds the flags that all three commands take. */
export function addInstallOptions(command: Command): Command {
  return command
    .option(
      '--set <key=value>',
      'a choice; may be repeated',
      (value: string, list: readonly string[]) => [...list, value],
      [],
    )
    .option('-i, --istioNamespace <name>', 'namespace of the control plane', 'istio-system');
}

/** Exit code 0, or 2 on wrong use. */
export function manifestCommand(_env: Env): Command {
  const generate = addInstallOptions(
    new Command('generate').description('print what install would apply, as YAML'),
  ).action((flags: InstallFlags) => {
    const manifests = installManifests(installOptions(flags, 'v1'));
    process.stdout.write(
      manifests
        .map((manifest) => `---\n${stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })}`)
        .join(''),
    );
  });
  return new Command('manifest').description('manifests of an installation').addCommand(generate);
}
