/** `proxy`: the data plane alone, with Envoy's flags and an Envoy bootstrap. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import type { LogLevel } from '#base/log.ts';
import type { BootstrapInput } from './bootstrap_text.ts';
import { becomeLean } from './lean_process.ts';
import { type Env, UsageError, version } from './main.ts';

/** Envoy's names of levels. */
const levels: Readonly<Record<string, LogLevel>> = {
  trace: 'debug',
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  warn: 'warn',
  error: 'error',
  critical: 'error',
  off: 'none',
};

/** Flags of Envoy that are taken and change nothing here. */
const ignoredFlags = [
  '--base-id <id>',
  '--use-dynamic-base-id',
  '--base-id-path <path>',
  '--restart-epoch <epoch>',
  '--disable-hot-restart',
  '--parent-shutdown-time-s <seconds>',
  '--local-address-ip-version <version>',
  '--file-flush-interval-msec <ms>',
  '--component-log-level <levels>',
  '--log-format <format>',
  '--log-format-escaped',
  '--cpuset-threads',
  '--enable-fine-grain-logging',
];

/** Largest bootstrap, encoded. */
const maxBootstrapBytes = 64 * 1024 * 1024;

interface ProxyFlags {
  readonly configPath?: string;
  readonly configYaml?: string;
  readonly concurrency: string;
  readonly logLevel: string;
  readonly logPath?: string;
  readonly mode: string;
  readonly drainTimeS: string;
  readonly drainStrategy: 'gradual' | 'immediate';
  readonly serviceNode?: string;
  readonly serviceCluster?: string;
  readonly serviceZone?: string;
  readonly allowUnknownFields?: boolean;
  readonly allowUnknownStaticFields?: boolean;
  readonly rejectUnknownDynamicFields?: boolean;
}

/** @throws UsageError unless it is a whole number of at least 0. */
function wholeNumber(text: string, flag: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new UsageError(`${flag}: ${JSON.stringify(text)} is not a whole number`);
  return Number(text);
}

function readInput(flags: ProxyFlags): BootstrapInput {
  const { configPath, configYaml } = flags;
  if (configPath === undefined && configYaml === undefined)
    throw new UsageError('one of --config-path and --config-yaml is needed');
  let file: BootstrapInput['file'];
  if (configPath !== undefined) {
    try {
      file = { path: configPath, text: readFileSync(configPath, 'utf8') };
    } catch (error) {
      throw new UsageError(`cannot read ${configPath}: ${(error as Error).message}`);
    }
  }
  return {
    file,
    overlay: configYaml,
    serviceNode: flags.serviceNode,
    serviceCluster: flags.serviceCluster,
    serviceZone: flags.serviceZone,
    allowUnknownFields: flags.allowUnknownFields === true || flags.allowUnknownStaticFields === true,
  };
}

/** Reads the bootstrap in a process of its own: a thread would leave 10 MB behind in this one. */
function bootstrapBytes(input: BootstrapInput): Uint8Array {
  const entry = fileURLToPath(new URL('./bootstrap_process.ts', import.meta.url));
  const { status, stdout, stderr, error } = spawnSync(process.execPath, ['--no-warnings', entry], {
    input: JSON.stringify(input),
    maxBuffer: maxBootstrapBytes,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(stderr.toString() || 'the bootstrap could not be read');
  return stdout;
}

async function run(flags: ProxyFlags, env: Env): Promise<number> {
  const logLevel = levels[flags.logLevel];
  if (logLevel === undefined)
    throw new UsageError(`--log-level: use one of ${Object.keys(levels).join(', ')}`);
  const concurrency = wholeNumber(flags.concurrency, '--concurrency') || availableParallelism();
  const drainTimeMs = wholeNumber(flags.drainTimeS, '--drain-time-s') * 1000;
  const bootstrap = bootstrapBytes(readInput(flags));
  if (flags.mode === 'validate') {
    const { validateBootstrap } = await import('#proxy/server/validate.ts');
    await validateBootstrap(bootstrap);
    process.stdout.write(`configuration '${flags.configPath ?? '--config-yaml'}' OK\n`);
    return 0;
  }
  const [{ startProxy }, { createLogger }] = await Promise.all([
    import('#proxy/server/main.ts'),
    import('#base/log.ts'),
  ]);
  // Lines pass at every level here: /logging changes the level of the workers.
  const log = createLogger({ level: logLevel === 'none' ? 'none' : 'debug' }, 'main');
  const proxy = await startProxy({
    bootstrap,
    concurrency,
    inline: concurrency === 1,
    log,
    logLevel,
    drainTimeMs,
    drainStrategy: flags.drainStrategy,
    commandLine: {
      configPath: flags.configPath,
      configYaml: flags.configYaml,
      serviceCluster: flags.serviceCluster,
      serviceNode: flags.serviceNode,
      serviceZone: flags.serviceZone,
      allowUnknownStaticFields: flags.allowUnknownFields === true || flags.allowUnknownStaticFields === true,
    },
    environment: env,
    version: version(),
  });
  const stop = (): void => void proxy.close();
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const error = await proxy.exited;
  process.off('SIGTERM', stop);
  process.off('SIGINT', stop);
  if (error !== undefined) throw error;
  return 0;
}

/** The command, to be run until SIGTERM. */
export function proxyCommand(env: Env): Command {
  const command = new Command('proxy')
    .summary('run the data plane alone, from an Envoy bootstrap')
    .description('Runs the data plane from an Envoy bootstrap until SIGTERM.')
    .option('-c, --config-path <path>', 'bootstrap, JSON or YAML')
    .option('--config-yaml <text>', 'bootstrap as text, merged over the file')
    .option('--concurrency <threads>', 'worker threads; 0: one per CPU', '0')
    .option('-l, --log-level <level>', Object.keys(levels).join(', '), 'info')
    .addOption(new Option('--mode <mode>', 'what to do').choices(['serve', 'validate']).default('serve'))
    .option('--drain-time-s <seconds>', 'time that connections of removed listeners get', '600')
    .addOption(
      new Option('--drain-strategy <strategy>', 'how connections are told to let go over the drain time')
        .choices(['gradual', 'immediate'])
        .default('gradual'),
    )
    .option('--service-node <id>', 'node id')
    .option('--service-cluster <name>', 'cluster of the node')
    .option('--service-zone <zone>', 'zone of the node')
    .option('--allow-unknown-fields', 'accept fields of the bootstrap that are not known')
    .option('--allow-unknown-static-fields', 'the same')
    .option('--reject-unknown-dynamic-fields', 'taken for compatibility');
  for (const flag of ignoredFlags) command.addOption(new Option(flag).hideHelp());
  return command.action(async (flags: ProxyFlags) => {
    if (flags.mode === 'serve') becomeLean(env);
    process.exitCode = await run(flags, env);
  });
}
