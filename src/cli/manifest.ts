/** `trysail manifest generate`, and the choices it shares with `install`. */
import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { type InstallOptions, defaultKubeVersion, installManifests } from '#install/manifests.ts';
import { type InstallValues, readInstallValues } from '#install/read_values.ts';
import { type Env, UsageError } from './main.ts';

/** Flags of an installation. */
export interface InstallFlags {
  readonly set: readonly string[];
  readonly filename: readonly string[];
  readonly revision?: string;
  readonly istioNamespace: string;
}

function collect(value: string, list: readonly string[]): readonly string[] {
  return [...list, value];
}

/** Reads files and `--set`; what is odd is told on standard error. @throws UsageError that names every wrong value */
export async function readFlags(flags: InstallFlags): Promise<InstallValues> {
  try {
    const files = await Promise.all(
      flags.filename.map(async (name) => ({ name, text: await readFile(name, 'utf8') })),
    );
    const { revision } = flags;
    const values = readInstallValues({
      files,
      set: flags.set,
      ...(revision === undefined ? {} : { revision }),
    });
    for (const warning of values.warnings) process.stderr.write(`warning: ${warning}\n`);
    return values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** Renders; a template's complaint about values is wrong use. @throws UsageError */
export function render<T>(options: InstallOptions, make: (options: InstallOptions) => T): T {
  try {
    return make(options);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** Adds the flags that say what is installed. */
export function addInstallOptions(command: Command): Command {
  return command
    .option('-f, --filename <file>', 'values, or an IstioOperator; may be repeated', collect, [])
    .option('-s, --set <key=value>', 'a value, over those of files; may be repeated', collect, [])
    .option('-r, --revision <name>', 'name of this control plane beside others')
    .option('-i, --istioNamespace <name>', 'namespace of the control plane', 'istio-system');
}

/** Objects as YAML documents. */
export function manifestText(manifests: readonly object[]): string {
  return manifests
    .map((manifest) => `---\n${stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })}`)
    .join('');
}

/** `1.20`, `v1.20.2`. */
function parseKubeVersion(text: string): string {
  if (!/^v?\d{1,3}\.\d{1,3}(?:\.\d{1,4})?(?:[-+][\w.+-]{1,64})?$/.test(text))
    throw new UsageError(`--kube-version: ${JSON.stringify(text)} is no version such as 1.28.0`);
  return text.startsWith('v') ? text : `v${text}`;
}

/** Exit code 0, or 2 on wrong use. */
export function manifestCommand(_env: Env): Command {
  const generate = addInstallOptions(
    new Command('generate').description('print what install would apply, as YAML'),
  )
    .option('--kube-version <version>', 'version of Kubernetes to write for', defaultKubeVersion)
    .action(async (flags: InstallFlags & { readonly kubeVersion: string }) => {
      const options: InstallOptions = {
        namespace: flags.istioNamespace,
        kubeVersion: parseKubeVersion(flags.kubeVersion),
        values: await readFlags(flags),
      };
      process.stdout.write(manifestText(render(options, installManifests)));
    });
  return new Command('manifest').description('manifests of an installation').addCommand(generate);
}
