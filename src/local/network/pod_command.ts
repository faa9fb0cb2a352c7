/** Starting processes in a pod: which namespaces, which user, which privileges. */
import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { withSystemPath } from './sandbox.ts';

/** Who a process is. `caller`: the user who opened the sandbox, under that user's own numbers. */
export type PodUser = 'caller' | UserIds;

/** The sidecar's user: the one whose traffic is not captured. */
export const sidecarUser: PodUser = { uid: 1337, gid: 1337 };

/** How a process is started. */
export interface PodSpawnOptions {
  /** Default `caller`. */
  readonly user?: PodUser;
  /** May read all files of the caller, for users who could not (CAP_DAC_READ_SEARCH). Default false. */
  readonly readsAllFiles?: boolean;
  readonly env: Readonly<Record<string, string>>;
  /** Default: all pipes. */
  readonly stdio?: StdioOptions;
  /** Default `/`. */
  readonly cwd?: string;
}

/** Numbers of a user and a group. */
export interface UserIds {
  readonly uid: number;
  readonly gid: number;
}

/** The user who opened the sandbox. */
export interface Caller {
  /** Numbers inside the sandbox. */
  readonly ids: UserIds;
  /** Numbers the user knows from outside, shown to its processes; they live in one more user namespace then. */
  readonly shownAs?: UserIds;
}

/** Changes the folder and becomes the command. */
const changeFolder = 'cd "$1" && shift && exec "$@"';

/** The process that holds a pod, and who its processes belong to. */
export interface PodProcess {
  readonly pid: number;
  readonly caller: Caller;
}

/** Arguments that enter the pod's namespaces and become the command; each step replaces the one before. */
export function podCommandLine(
  { pid, caller }: PodProcess,
  command: string,
  args: readonly string[],
  options: Omit<PodSpawnOptions, 'env' | 'stdio'>,
): string[] {
  const { user = 'caller', readsAllFiles = false, cwd = '/' } = options;
  const enter = ['nsenter', `--target=${pid}`, '--net', '--mount', '--uts', '--'];
  const goTo = ['sh', '-c', changeFolder, 'pod', cwd];
  const become =
    user === 'caller' && caller.shownAs !== undefined
      ? showAs(caller.shownAs)
      : change(user === 'caller' ? caller.ids : user, readsAllFiles);
  return [...enter, ...goTo, ...become, command, ...args];
}

/** Another user, with no privileges beyond those named and none to be had by starting another program. */
function change({ uid, gid }: UserIds, readsAllFiles: boolean): string[] {
  const kept = readsAllFiles ? '-all,+dac_read_search' : '-all';
  const capabilities = [`--inh-caps=${kept}`, ...(readsAllFiles ? [`--ambient-caps=${kept}`] : [])];
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--no-new-privs'];
  return ['setpriv', ...ids, ...capabilities, `--bounding-set=${kept}`, '--'];
}

/**
 * The same user under other numbers. Mapping root's number needs a privilege, so privileges go after: starting a program
 * as a user other than root drops them.
 */
function showAs({ uid, gid }: UserIds): string[] {
  const map = ['unshare', '--user', `--map-user=${uid}`, `--map-group=${gid}`, '--'];
  return [...map, 'setpriv', '--no-new-privs', '--inh-caps=-all', '--'];
}

/** Starts a process in a pod. */
export function podCommand(
  pod: PodProcess,
  command: string,
  args: readonly string[],
  options: PodSpawnOptions,
): ChildProcess {
  const [program = '', ...rest] = podCommandLine(pod, command, args, options);
  return spawn(program, rest, {
    env: { ...options.env, PATH: withSystemPath(options.env['PATH']) },
    ...(options.stdio !== undefined && { stdio: options.stdio }),
  });
}
