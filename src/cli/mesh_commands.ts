/** `trysail status`, `logs`, `exec` and `down`: what a second terminal asks of a running mesh. */
import { Command } from 'commander';
import { stateDirectories } from '#local/state_directory.ts';
import type { Env } from './main.ts';
import { baseDirectories, nameOption } from './mesh_name.ts';

interface NameFlag {
  readonly name: string;
}

function socketOf(env: Env, { name }: NameFlag): string {
  return stateDirectories(baseDirectories(env), name).controlSocket;
}

export function statusCommand(env: Env): Command {
  return new Command('status')
    .description('show the pods of the running mesh')
    .option('--json', 'as JSON', false)
    .addOption(nameOption())
    .action(async (flags: NameFlag & { readonly json: boolean }) => {
      const { fetchStatus } = await import('#local/control.ts');
      const status = await fetchStatus(socketOf(env, flags));
      if (flags.json) {
        process.stdout.write(`${JSON.stringify(status)}\n`);
        return;
      }
      const { formatPods } = await import('#local/screen.ts');
      const lines = [
        status.reason,
        '',
        ...formatPods(status.pods),
        ...status.urls.map((url) => `Open ${url}`),
        ...status.problems,
      ];
      process.stdout.write(`${lines.join('\n')}\n`);
    });
}

export function logsCommand(env: Env): Command {
  return new Command('logs')
    .description('print what a pod wrote')
    .argument('<pod>', 'name of the pod, or its beginning')
    .option('-c, --container <name>', 'only this container; the sidecar is istio-proxy')
    .option('-f, --follow', 'go on with new lines', false)
    .addOption(nameOption())
    .action(
      async (pod: string, flags: NameFlag & { readonly container?: string; readonly follow: boolean }) => {
        const { fetchLogs } = await import('#local/control.ts');
        for await (const line of fetchLogs(socketOf(env, flags), pod, {
          source: flags.container,
          follow: flags.follow,
        })) {
          process.stdout.write(`${line.text}\n`);
        }
      },
    );
}

export function execCommand(env: Env): Command {
  return new Command('exec')
    .description('run a command in a pod, as its application')
    .argument('<pod>', 'name of the pod, or its beginning')
    .argument('<command...>', 'command and arguments, after --')
    .addOption(nameOption())
    .action(async (pod: string, command: string[], flags: NameFlag) => {
      const { runInPod } = await import('#local/control.ts');
      process.exitCode = await runInPod(socketOf(env, flags), pod, command, {
        input: process.stdin,
        output: process.stdout,
        error: process.stderr,
      });
    });
}

export function downCommand(env: Env): Command {
  return new Command('down')
    .description('end the running mesh')
    .addOption(nameOption())
    .action(async (flags: NameFlag) => {
      const { sendDown, waitUntilGone } = await import('#local/control.ts');
      const path = socketOf(env, flags);
      await sendDown(path);
      await waitUntilGone(path);
    });
}
