/** `trysail up`: the mesh on this machine. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Env, UsageError } from './main.ts';
import { baseDirectories, nameOption } from './mesh_name.ts';

interface Flags {
  readonly traffic: number;
  readonly check: boolean;
  readonly json: boolean;
  readonly capture: 'auto' | 'on' | 'off';
  readonly dataPlane: 'built_in' | 'envoy';
  readonly envoyPath?: string;
  readonly xds: 'sotw' | 'delta';
  readonly name: string;
  readonly oneAddress: boolean;
  readonly trustDomain: string;
  readonly inside: boolean;
  readonly apps: readonly string[];
}

/** Requests/s that the generator makes at most. */
const maxTraffic = 5000;

function parseTraffic(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0 || value > maxTraffic) {
    throw new InvalidArgumentError(`expected a number from 0 to ${maxTraffic}`);
  }
  return value;
}

/** Variables that applications and sidecars get from the person's environment: enough to run, nothing of secrets. */
function baseEnvironment(env: Env): Record<string, string> {
  const result: Record<string, string> = {};
  for (const name of ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR', 'NODE_COMPILE_CACHE']) {
    const value = env[name];
    if (value !== undefined) result[name] = value;
  }
  return result;
}

/** The user who called sudo, if any. */
function sudoCaller(env: Env): { uid: number; gid: number } | undefined {
  const uid = Number(env['SUDO_UID']);
  const gid = Number(env['SUDO_GID']);
  return Number.isInteger(uid) && Number.isInteger(gid) && uid > 0 ? { uid, gid } : undefined;
}

export function upCommand(env: Env): Command {
  const packageRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  return new Command('up')
    .description('run a mesh on this machine from Kubernetes and Istio YAML, and keep it equal to the files')
    .argument('<path...>', 'files and folders; a folder with trysail.yaml names its own files there')
    .addOption(
      new Option('--traffic <rps>', 'requests/s to the first gateway').default(0).argParser(parseTraffic),
    )
    .option('--check', 'send 200 requests, verify status, spread, mutual TLS, and exit with 0 or 1', false)
    .option('--json', 'one JSON object per line in place of a screen', false)
    .addOption(
      new Option('--capture <mode>', 'capture packets in network namespaces')
        .choices(['auto', 'on', 'off'])
        .default('auto'),
    )
    .addOption(
      new Option('--data-plane <kind>', 'proxy of the sidecars')
        .choices(['built_in', 'envoy'])
        .default('built_in'),
    )
    .option('--envoy-path <file>', 'Envoy binary for --data-plane envoy')
    .addOption(
      new Option('--xds <variant>', 'variant of xDS that sidecars speak')
        .choices(['sotw', 'delta'])
        .default('delta'),
    )
    .option('--trust-domain <name>', 'trust domain of identities', 'cluster.local')
    .option('--one-address', 'without capture: own ports on 127.0.0.1 in place of own addresses', false)
    .addOption(
      new Option('--apps <file>', 'a trysail.yaml of which only the programs are taken; may be repeated')
        .default([])
        .argParser((value: string, before: string[]) => [...before, value]),
    )
    .addOption(nameOption())
    .addOption(new Option('--inside').default(false).hideHelp())
    .action(async (paths: string[], flags: Flags) => {
      if (
        flags.dataPlane === 'envoy' &&
        flags.envoyPath === undefined &&
        env['TRYSAIL_ENVOY'] === undefined
      ) {
        throw new UsageError('--data-plane envoy needs --envoy-path FILE or TRYSAIL_ENVOY');
      }
      const caller = sudoCaller(env);
      const { startUp } = await import('#local/start_up.ts');
      const code = await startUp({
        paths,
        appFiles: flags.apps,
        trafficRps: flags.traffic,
        check: flags.check,
        json: flags.json,
        capture: flags.capture,
        dataPlane: flags.dataPlane,
        envoyPath: flags.envoyPath ?? env['TRYSAIL_ENVOY'],
        xdsProtocol: flags.xds,
        name: flags.name,
        singleAddress: flags.oneAddress,
        trustDomain: flags.trustDomain,
        inside: flags.inside,
        onBehalfOf: caller,
        sandboxEnvironment:
          caller === undefined ? {} : { SUDO_UID: String(caller.uid), SUDO_GID: String(caller.gid) },
        base: baseDirectories(env),
        baseEnvironment: baseEnvironment(env),
        packageRoot,
        entry: join(packageRoot, 'bin', 'trysail'),
        nodePath: process.execPath,
      });
      // forwarded ports and channels would hold the process; what it said must be out first
      await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
      process.exit(code);
    });
}
