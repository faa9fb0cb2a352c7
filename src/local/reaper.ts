/**
 * Ends what is left when `trysail up` is killed outright. A tiny process holds the other end of a pipe: it is told the
 * process groups that are started, and when the pipe closes without a farewell it ends them. Needed only where no
 * namespace does it (mode `none`).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Holds the pipe. */
export class Reaper {
  readonly #child: ChildProcess;

  /** @param paths files and directories to remove as well (the control socket). */
  constructor(paths: readonly string[]) {
    this.#child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
      stdio: ['pipe', 'ignore', 'ignore'],
      // a session of its own: a Ctrl-C at the terminal reaches the parent only
      detached: true,
    });
    this.#child.stdin?.on('error', () => {});
    for (const path of paths) this.#child.stdin?.write(`/${path}\n`);
    this.#child.unref();
  }

  /** A process group was started. */
  add(pid: number): void {
    this.#child.stdin?.write(`+${pid}\n`);
  }

  /** A process group is gone: its number may be used again by others. */
  delete(pid: number): void {
    this.#child.stdin?.write(`-${pid}\n`);
  }

  /** All was ended in order: nothing is left to do. */
  dismiss(): void {
    this.#child.stdin?.end('bye\n');
  }
}

/** Entry of the tiny process. */
function main(): void {
  const paths: string[] = [];
  const groups = new Set<number>();
  let rest = '';
  let dismissed = false;
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === 'bye') dismissed = true;
      else if (line.startsWith('/')) paths.push(line.slice(1));
      else if (line.startsWith('+')) groups.add(Number(line.slice(1)));
      else groups.delete(Number(line.slice(1)));
    }
  });
  const finish = (): void => {
    if (dismissed) process.exit(0);
    for (const pid of groups) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // the group is gone already
      }
    }
    for (const path of paths) rmSync(path, { recursive: true, force: true });
    process.exit(0);
  };
  process.stdin.on('end', finish);
  process.stdin.on('error', finish);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
}

if (import.meta.main) main();
