/**
 * A sandbox: network, mount and process namespaces of their own, in which the mesh's "node" lives. Whatever is started
 * inside ends with the sandbox, and the sandbox ends with the process that opened it, even when that one is killed: the
 * first process inside holds a pipe to it. The kernel then kills all processes and frees networks, rules and mounts.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { idMapArguments, ownIdRanges } from './id_map.ts';

/** What to run inside. */
export interface SandboxOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Environment of the command; the system's binary folders are added to its PATH. */
  readonly env: Readonly<Record<string, string>>;
  /** Default: the caller's. */
  readonly cwd?: string;
  /** Standard streams of the command. Default `pipe`. */
  readonly stdio?: 'pipe' | 'inherit' | 'ignore';
  /** The command is Node: open a channel (`child.send`), needed by port forwards. Default false. */
  readonly ipc?: boolean;
}

/** An open sandbox. */
export interface Sandbox {
  /** True when opened by an ordinary user: root inside is that user outside. */
  readonly rootless: boolean;
  /** Streams and channel of the command. Its pid is not the command's, so use `signal`. */
  readonly child: ChildProcess;
  /** Settles once all is gone: the command's exit code (128 + number after a signal, 137 after `destroy`). */
  readonly exited: Promise<number>;
  /** Sends a signal to the command. */
  signal(name: 'TERM' | 'INT' | 'HUP' | 'USR1' | 'USR2'): void;
  /** Kills everything inside. */
  destroy(): void;
}

/** Why a sandbox could not be opened: one line. */
export class SandboxError extends Error {
  override readonly name = 'SandboxError';
}

const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Creating namespaces takes milliseconds. */
const openTimeoutMs = 5000;

/**
 * Process 1 inside. It starts the command, reaps orphans (`wait` does) and obeys descriptor 3: a line is the name of a
 * signal for the command, the end of the stream is the end of all. A first process hears only signals it has a handler
 * for, hence the trap.
 */
const init = `
exec 5<&0
"$@" <&5 3<&- 5<&- &
main=$!
{ while read -r signal <&3; do kill -s "$signal" "$main"; done; kill -s TERM 1; } </dev/null >/dev/null 2>&1 5<&- &
exec 3<&- 5<&-
trap 'exit 137' TERM
wait "$main"`;

/** Waits for the id map, becomes root by starting anew. */
const rootlessStage = 'read -r _ <&3; exec "$@"';

/** `PATH` with the folders in which system programs live. */
export function withSystemPath(path: string | undefined): string {
  return path === undefined || path === '' ? systemPath : `${path}:${systemPath}`;
}

/**
 * Opens a sandbox, as root or as an ordinary user with subordinate ids.
 * @throws SandboxError
 */
export async function openSandbox(options: SandboxOptions): Promise<Sandbox> {
  const rootless = process.getuid?.() !== 0;
  const ranges = rootless ? await ownIdRanges() : undefined;
  if (rootless && ranges === undefined)
    throw new SandboxError('no subordinate ids for this user in /etc/subuid and /etc/subgid');
  const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc'];
  const inside = ['unshare', ...namespaces, '--', 'sh', '-c', init, 'init', options.command, ...options.args];
  const [program = '', ...args] = rootless
    ? ['unshare', '--user', '--', 'sh', '-c', rootlessStage, 'stage', ...inside]
    : inside;
  const stream = options.stdio ?? 'pipe';
  const stdio: StdioOptions = [
    stream,
    stream,
    stream,
    'pipe',
    ...(options.ipc === true ? (['ipc'] as const) : []),
  ];
  const child = spawn(program, args, {
    // A session of its own: an interrupt from the terminal is the opener's to handle.
    detached: true,
    stdio,
    env: { ...options.env, PATH: withSystemPath(options.env['PATH']) },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) =>
      reject(new SandboxError(`cannot run ${program}: ${cause.message}`, { cause })),
    );
  });
  child.on('error', () => {});
  const exited = new Promise<number>((resolve) => child.on('exit', (code) => resolve(code ?? 137)));
  const lifeline = child.stdio[3];
  if (!lifeline || !('write' in lifeline)) throw new SandboxError('no pipe to the sandbox');
  lifeline.on('error', () => {});

  if (ranges !== undefined) {
    try {
      const pid = child.pid ?? 0;
      await userNamespaceOf(pid, exited);
      await runMapper('newuidmap', idMapArguments(pid, process.getuid?.() ?? 0, ranges.uids));
      await runMapper('newgidmap', idMapArguments(pid, process.getgid?.() ?? 0, ranges.gids));
    } catch (error) {
      child.kill('SIGKILL');
      lifeline.destroy();
      throw error;
    }
    lifeline.write('go\n');
  }
  return {
    rootless,
    child,
    exited,
    signal: (name) => void lifeline.write(`${name}\n`),
    destroy: () => void lifeline.destroy(),
  };
}

/** Waits until the process has a user namespace of its own. */
async function userNamespaceOf(pid: number, exited: Promise<number>): Promise<void> {
  const state = { ended: false };
  void exited.then(() => (state.ended = true));
  const own = await readlink('/proc/self/ns/user');
  const deadline = Date.now() + openTimeoutMs;
  while (!state.ended && Date.now() < deadline) {
    const namespace = await readlink(`/proc/${pid}/ns/user`).catch(() => own);
    if (namespace !== own) return;
    await delay(2);
  }
  throw new SandboxError('user namespaces are forbidden here');
}

function runMapper(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: systemPath } });
    let message = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (message += text));
    child.on('error', () => reject(new SandboxError(`${program} is not installed (package uidmap)`)));
    child.on('close', (code) =>
      code === 0
        ? resolve()
        : reject(new SandboxError(`${program}: ${message.trim() || `exit code ${code}`}`)),
    );
  });
}
