/** One process of a pod: started again with back-off when it ends by itself, ended with its whole group when it is stopped. */
import type { ChildProcess } from 'node:child_process';
import { Backoff } from '#base/backoff.ts';
import { readLines } from './log_buffer.ts';

export interface SupervisedProcessOptions {
  readonly start: () => ChildProcess;
  readonly onLine: (text: string, stream: 'stdout' | 'stderr') => void;
  /** After each start. */
  readonly onStart?: (child: ChildProcess) => void;
  /** After an end that was not asked for; the process is started again after `waitMs`. */
  readonly onExit: (reason: string, waitMs: number) => void;
  /** From SIGTERM to SIGKILL. Default 5000. */
  readonly graceMs?: number;
}

/** A start that lives this long resets the back-off. */
const stableMs = 10_000;

export class SupervisedProcess {
  readonly #options: SupervisedProcessOptions;
  readonly #backoff = new Backoff({ baseMs: 500, maxMs: 15_000 });
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;
  restarts = 0;

  constructor(options: SupervisedProcessOptions) {
    this.#options = options;
    this.#start();
  }

  get child(): ChildProcess | undefined {
    return this.#child;
  }

  #start(): void {
    const startedAt = performance.now();
    let reported = false;
    const child = this.#options.start();
    this.#child = child;
    if (child.stdout !== null) readLines(child.stdout, (text) => this.#options.onLine(text, 'stdout'));
    if (child.stderr !== null) readLines(child.stderr, (text) => this.#options.onLine(text, 'stderr'));
    const ended = (reason: string): void => {
      if (reported) return;
      reported = true;
      this.#child = undefined;
      if (this.#stopping) return;
      if (performance.now() - startedAt > stableMs) this.#backoff.reset();
      const waitMs = this.#backoff.next();
      this.restarts++;
      this.#options.onExit(reason, waitMs);
      this.#timer = setTimeout(() => this.#start(), waitMs);
    };
    child.on('error', (error) => ended(error.message));
    child.on('exit', (code, signal) => ended(signal === null ? `exit code ${code}` : `signal ${signal}`));
    this.#options.onStart?.(child);
  }

  /** SIGTERM to the group, SIGKILL after the grace time; resolves when the process is gone. */
  async stop(graceMs = this.#options.graceMs ?? 5000): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    signalGroup(child, 'SIGTERM');
    const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), graceMs);
    await gone;
    clearTimeout(timer);
    signalGroup(child, 'SIGKILL');
  }
}

/** Signals the process group that the child leads, or the child alone when it leads none. */
export function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    child.kill(signal);
  }
}
