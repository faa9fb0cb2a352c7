/** The process outside: opens the sandbox, starts `trysail up` again in it, and forwards published ports into it. */
import { openSandbox } from './network/sandbox.ts';
import { forwardPort } from './network/port_forward.ts';
import { freePort } from './free_ports.ts';
import { Reaper } from './reaper.ts';
import { stateDirectories } from './state_directory.ts';
import { isPublishRequest, type PublishAnswer } from './publish_channel.ts';
import type { StartUpOptions } from './start_up.ts';

/** The words of the command line that start the same mesh inside. */
function insideArguments(options: StartUpOptions): string[] {
  const args = ['up', ...options.paths, '--inside', '--name', options.name, '--xds', options.xdsProtocol];
  args.push('--traffic', String(options.trafficRps), '--trust-domain', options.trustDomain);
  args.push('--data-plane', options.dataPlane);
  if (options.envoyPath !== undefined) args.push('--envoy-path', options.envoyPath);
  for (const file of options.appFiles) args.push('--apps', file);
  if (options.check) args.push('--check');
  if (options.json) args.push('--json');
  return args;
}

/** Exit code of the mesh inside. */
export async function runInSandbox(options: StartUpOptions, ended: Promise<string>): Promise<number> {
  const sandbox = await openSandbox({
    command: options.nodePath,
    args: ['--disable-warning=ExperimentalWarning', options.entry, ...insideArguments(options)],
    env: {
      ...options.baseEnvironment,
      // the same folders as out here, whatever the user is called inside
      XDG_STATE_HOME: options.base.keep.replace(/\/trysail$/, ''),
      XDG_RUNTIME_DIR: options.base.run.replace(/\/trysail$/, ''),
      ...options.sandboxEnvironment,
    },
    stdio: 'inherit',
    ipc: true,
  });
  const { child } = sandbox;
  child.on('message', (message) => {
    if (!isPublishRequest(message)) return;
    const { id, host, port } = message;
    const answer = (rest: Partial<PublishAnswer>): void => {
      if (child.connected) child.send({ type: 'trysail.published', id, ...rest } satisfies PublishAnswer);
    };
    freePort('127.0.0.1', port)
      .then((free) => forwardPort(child, { port: free }, { host, port }))
      .then(
        (forward) => answer({ port: forward.port }),
        (error: unknown) => answer({ error: error instanceof Error ? error.message : String(error) }),
      );
  });
  // the kernel ends what is inside; files outside of it are left to the reaper when this process is killed
  const reaper = new Reaper([stateDirectories(options.base, options.name).run]);
  void ended.then((signal) => sandbox.signal(signal === 'SIGINT' ? 'INT' : 'TERM'));
  const code = await sandbox.exited;
  reaper.dismiss();
  return code;
}
