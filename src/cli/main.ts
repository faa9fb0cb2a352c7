/**
 * The command line: one list of commands, each a file of this folder. Exit codes: 0 done, 1 it ran and found or met a
 * failure, 2 it was called wrongly.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';

/** The environment as commands see it: read here, never in `src/` below. */
export type Env = Readonly<Record<string, string | undefined>>;

/** An error of use: its message is printed without a stack and the exit code is 2. */
export class UsageError extends Error {}

/** What a command gets when it is made. */
type CommandFactory = (env: Env) => Command | Promise<Command>;

/** Name, summary, and where the command lives; a command's file is loaded only when it is called or listed alone. */
const commands: readonly (readonly [name: string, summary: string, load: CommandFactory])[] = [
  [
    'up',
    'run a mesh on this machine from YAML files',
    async (env) => (await import('./up.ts')).upCommand(env),
  ],
  [
    'status',
    'show the pods of the running mesh',
    async (env) => (await import('./mesh_commands.ts')).statusCommand(env),
  ],
  ['logs', 'print what a pod wrote', async (env) => (await import('./mesh_commands.ts')).logsCommand(env)],
  ['exec', 'run a command in a pod', async (env) => (await import('./mesh_commands.ts')).execCommand(env)],
  ['down', 'end the running mesh', async (env) => (await import('./mesh_commands.ts')).downCommand(env)],
  [
    'pilot-discovery',
    'the control plane',
    async (env) => (await import('./pilot_discovery.ts')).pilotDiscoveryCommand(env),
  ],
  [
    'proxy-status',
    'show how far each proxy follows the control plane',
    async (env) => (await import('./proxy_status.ts')).proxyStatusCommand(env),
  ],
  [
    'pilot-agent',
    'run and ask the agent of one pod',
    async (env) => (await import('./pilot_agent.ts')).pilotAgentCommand(env),
  ],
  [
    'proxy',
    'run the data plane alone, from an Envoy bootstrap',
    async (env) => (await import('./proxy.ts')).proxyCommand(env),
  ],
  [
    'validate',
    'check Istio and Kubernetes YAML without applying it',
    async (env) => (await import('./validate.ts')).validateCommand(env),
  ],
  [
    'kube-inject',
    'add sidecars to the workloads of a manifest',
    async (env) => (await import('./kube_inject.ts')).kubeInjectCommand(env),
  ],
  [
    'manifest',
    'print the manifests of an installation',
    async (env) => (await import('./manifest.ts')).manifestCommand(env),
  ],
  [
    'install',
    'install the control plane into a cluster',
    async (env) => (await import('./install.ts')).installCommand(env),
  ],
  [
    'uninstall',
    'remove the control plane from a cluster',
    async (env) => (await import('./install.ts')).uninstallCommand(env),
  ],
  [
    'tag',
    'names for revisions of the control plane',
    async (env) => (await import('./tag.ts')).tagCommand(env),
  ],
  [
    'x',
    'commands that may still change: check-inject',
    async (env) => (await import('./check_inject.ts')).experimentalCommand(env),
  ],
  [
    'istio-iptables',
    'set the rules that capture the traffic of a pod',
    async (env) => (await import('./istio_iptables.ts')).istioIptablesCommand(env),
  ],
];

/** Version of the package. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Runs one command line; gives the exit code. Long-running commands resolve when they end. */
export async function main(args: readonly string[], env: Env): Promise<number> {
  const program = new Command('trysail')
    .description("A sidecar service mesh in TypeScript that speaks Istio's API.")
    .version(version(), '-V, --version', 'print the version')
    .showSuggestionAfterError()
    .showHelpAfterError('(trysail --help lists the commands)')
    .exitOverride();
  const wanted = args.find((arg) => !arg.startsWith('-'));
  for (const [name, summary, load] of commands) {
    if (name === wanted) {
      const command = await load(env);
      inheritSettings(command, program);
      program.addCommand(command);
    } else program.addCommand(new Command(name).summary(summary).description(summary));
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof UsageError) {
      process.stderr.write(`trysail: ${error.message}\n`);
      return 2;
    }
    process.stderr.write(`trysail: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

/** Sub-commands answer errors and help in the same way as the root. */
function inheritSettings(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inheritSettings(child, command);
}
