/** `pilot-agent`: the agent of one pod, with Istio's sub-commands, flags and environment. The work is loaded when it is called. */
import { Command, Option } from 'commander';
import { becomeLean } from './lean_process.ts';
import { addLogOptions } from './log_options.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Flags of Istio's agent that are taken and change nothing here. */
const ignoredFlags = [
  '--ctrlz_address <address>',
  '--ctrlz_port <port>',
  '--log_caller <scopes>',
  '--log_rotate <path>',
  '--log_rotate_max_age <days>',
  '--log_rotate_max_backups <count>',
  '--log_rotate_max_size <megabytes>',
  '--log_stacktrace_level <levels>',
  '--log_target <paths...>',
  '--profiling',
  '--stsPort <port>',
  '--templateFile <path>',
  '--tokenManagerPlugin <name>',
  '--vklog <level>',
];

function withIgnored(command: Command): Command {
  for (const flag of ignoredFlags) command.addOption(new Option(flag).hideHelp());
  return command;
}

function proxyCommand(env: Environment): Command {
  const command = new Command('proxy')
    .summary('run the sidecar or gateway of a pod')
    .description('Runs the agent and its data plane until SIGTERM.')
    .argument('[type]', 'sidecar or router', 'sidecar')
    .option('--domain <domain>', 'DNS domain of the node; default NAMESPACE.svc.cluster.local')
    .option('--serviceCluster <name>', 'name of the service that the proxy stands for')
    .option('--concurrency <threads>', 'worker threads; 0: one per CPU')
    .option('--trust-domain <domain>', 'trust domain of the mesh; default TRUST_DOMAIN or cluster.local')
    .option('--meshConfig <path>', 'file with the mesh configuration', './etc/istio/config/mesh')
    .option('--outlierLogPath <path>', 'file for events of outlier detection')
    .option('--proxyLogLevel <level>', 'log level of Envoy', 'warning')
    .option('--proxyComponentLogLevel <levels>', 'log levels of components of Envoy');
  return withIgnored(addLogOptions(command)).action(
    async (type: string, flags: Readonly<Record<string, unknown>>) => {
      becomeLean(env);
      const { runPilotAgentProxy } = await import('./pilot_agent_proxy.ts');
      process.exitCode = await runPilotAgentProxy(type, flags, env);
    },
  );
}

function requestCommand(): Command {
  return new Command('request')
    .summary('ask the admin interface of the proxy')
    .description('Makes a request to the admin interface of the proxy and prints the answer.')
    .argument('<method>', 'GET or POST')
    .argument('<path>', 'path, with or without its first slash')
    .option('--debug-port <port>', 'port of the admin interface', '15000')
    .option('--debug-host <address>', 'address of the admin interface', '127.0.0.1')
    .action(async (method: string, path: string, flags: { debugPort: string; debugHost: string }) => {
      const { requestAdmin } = await import('./pilot_agent_request.ts');
      process.exitCode = await requestAdmin(method, path, flags.debugHost, flags.debugPort);
    });
}

function waitCommand(): Command {
  return new Command('wait')
    .summary('wait until the proxy is ready')
    .description('Asks the health endpoint until it answers 200.')
    .option('--timeoutSeconds <seconds>', 'longest wait', '60')
    .option('--requestTimeoutMillis <ms>', 'limit of one request', '500')
    .option('--periodMillis <ms>', 'time between two requests', '500')
    .option('--url <url>', 'what to ask', 'http://localhost:15021/healthz/ready')
    .action(async (flags: Readonly<Record<string, string>>) => {
      const { waitUntilReady } = await import('./pilot_agent_request.ts');
      process.exitCode = await waitUntilReady({
        url: flags['url'] ?? '',
        timeoutMs: Number(flags['timeoutSeconds']) * 1000,
        requestTimeoutMs: Number(flags['requestTimeoutMillis']),
        periodMs: Number(flags['periodMillis']),
      });
    });
}

function iptablesCommand(env: Environment): Command {
  return new Command('istio-iptables')
    .summary('set the rules that capture the traffic of a pod')
    .allowUnknownOption()
    .allowExcessArguments()
    .helpOption(false)
    .argument('[args...]')
    .action(async (args: string[]) => {
      const { istioIptablesCommand } = await import('./istio_iptables.ts');
      await istioIptablesCommand(env).parseAsync(args, { from: 'user' });
    });
}

function versionCommand(): Command {
  return new Command('version').summary('print the version').action(async () => {
    const { agentVersion } = await import('./pilot_agent_version.ts');
    process.stdout.write(`${agentVersion()}\n`);
  });
}

/** The command with its sub-commands. */
export function pilotAgentCommand(env: Environment): Command {
  return new Command('pilot-agent')
    .summary('run and ask the agent of one pod')
    .description(
      'The agent of one pod: identity, configuration, DNS, health and the data plane beside an application.',
    )
    .addCommand(proxyCommand(env))
    .addCommand(requestCommand())
    .addCommand(waitCommand())
    .addCommand(iptablesCommand(env))
    .addCommand(versionCommand());
}
