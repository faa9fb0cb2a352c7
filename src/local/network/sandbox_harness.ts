/** For tests: programs that open sandboxes, run as this user or, from root, as an ordinary user that exists nowhere else. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  constants,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  chmodSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { detectCapture } from './detect.ts';

/** How a program is run. */
export interface Run {
  readonly name: 'root' | 'rootless';
  /** Why it cannot be, for `skip`. */
  readonly skip: string | false;
  /** Starts Node with a function that a module of this folder exports in a record: `start('scenarios.ts', 'outside.x')`. */
  start(module: string, name: string): { child: ChildProcess; cleanup: () => void };
}

const ordinaryUid = 4711;
const isRoot = process.getuid?.() === 0;

/** The files of the user database with one more user, bound over the real ones in a mount namespace of its own. */
const asOrdinaryUser = `
for file in passwd group subuid subgid; do mount --bind "$DATABASE/$file" /etc/$file; done
exec setpriv --reuid ${ordinaryUid} --regid ${ordinaryUid} --clear-groups --inh-caps=-all -- "$@"`;

function writeUserDatabase(folder: string): void {
  chmodSync(folder, 0o755);
  const write = (name: string, line: string): void => {
    let text = '';
    try {
      text = readFileSync(join('/etc', name), 'utf8');
    } catch {
      // The machine has none.
    }
    writeFileSync(join(folder, name), `${text}${line}\n`, { mode: 0o644 });
  };
  write('passwd', `trysailtest:x:${ordinaryUid}:${ordinaryUid}::/tmp:/bin/sh`);
  write('group', `trysailtest:x:${ordinaryUid}:`);
  write('subuid', 'trysailtest:1000000:65536');
  write('subgid', 'trysailtest:1000000:65536');
}

function readableByAll(path: string): boolean {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder))
    if ((statSync(folder).mode & 0o005) !== 0o005) return false;
  return true;
}

function rootlessSkip(): string | false {
  if (!isRoot) return false;
  for (const file of ['/etc/subuid', '/etc/subgid', '/usr/bin/newuidmap'])
    try {
      accessSync(file, constants.R_OK);
    } catch {
      return `rootless: no ${file}`;
    }
  if (!readableByAll(import.meta.dirname) || !readableByAll(process.execPath))
    return 'rootless: the checkout or Node is not readable by other users';
  return false;
}

/** Arguments of Node that call an exported function: `nodeCall('scenarios.ts', 'inside.x')`. */
export function nodeCall(module: string, name: string): string[] {
  const path = JSON.stringify(join(import.meta.dirname, module));
  return ['--input-type=module', '-e', `import * as m from ${path}; await m.${name}();`];
}

function startNode(call: readonly string[], rootless: boolean): { child: ChildProcess; cleanup: () => void } {
  const node = [process.execPath, ...call];
  if (!rootless || !isRoot) {
    const child = spawn(node[0] ?? '', node.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
    return { child, cleanup: () => {} };
  }
  const database = mkdtempSync(join(tmpdir(), 'trysail-users-'));
  writeUserDatabase(database);
  const child = spawn('unshare', ['--mount', '--', 'sh', '-ec', asOrdinaryUser, 'user', ...node], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DATABASE: database },
  });
  return { child, cleanup: () => rmSync(database, { recursive: true, force: true }) };
}

/**
 * The two ways to run; each says why it cannot be here.
 * @param ci whether this is CI, where a machine that cannot capture is a failure
 */
export async function sandboxRuns(ci: boolean): Promise<Run[]> {
  const support = await detectCapture();
  const missing = support.mode === 'none' && support.missing;
  if (missing && ci) throw new Error(missing);
  const run = (way: Run['name'], skip: string | false): Run => ({
    name: way,
    skip: skip || missing,
    start: (module, name) => startNode(nodeCall(module, name), way === 'rootless'),
  });
  return [run('root', isRoot ? false : 'not root'), run('rootless', rootlessSkip())];
}

/** Runs a program to its end. A failure is an error with all output. */
export function runToEnd({ child, cleanup }: { child: ChildProcess; cleanup: () => void }): Promise<void> {
  return new Promise((resolve, reject) => {
    let all = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (all += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (all += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    child.on('close', (code) => {
      clearTimeout(timer);
      cleanup();
      if (code === 0) resolve();
      else reject(new Error(`exit code ${code}: ${all}`));
    });
  });
}

/** Waits for the first output of a process. */
export async function firstOutput({ stdout }: ChildProcess): Promise<void> {
  if (stdout === null) throw new Error('the process has no output');
  await once(stdout, 'data');
}
