/** Runs `trysail up --json` as a person would and reads what it says. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const packageRoot: string = join(import.meta.dirname, '..', '..');

export interface PodRow {
  readonly name: string;
  readonly version: string;
  readonly address: string;
  readonly identity: string;
  readonly phase: string;
  readonly xds: string;
}

interface StatusEvent {
  readonly type: 'status';
  readonly mode: 'capture' | 'none';
  readonly urls: readonly string[];
  readonly pods: readonly PodRow[];
  readonly settled: boolean;
}

export interface MeshEvent {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface MeshProcessOptions {
  /** Arguments after `up PATH`. */
  readonly args?: readonly string[];
  /** Path below a copy of `samples/bookinfo`; default the whole folder. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One running mesh over its own copy of samples/bookinfo. */
export class MeshProcess {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'trysail-test-'));
  readonly events: MeshEvent[] = [];
  readonly stderr: string[] = [];
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  readonly name: string;
  #waiters = new Set<() => void>();

  constructor(options: MeshProcessOptions = {}) {
    cpSync(join(packageRoot, 'samples', 'bookinfo'), this.files, { recursive: true });
    this.name = `t${process.pid}-${Math.floor(Math.random() * 1e6)}`;
    this.child = spawn(
      process.execPath,
      [
        join(packageRoot, 'bin', 'trysail.ts'),
        'up',
        this.files,
        '--json',
        '--name',
        this.name,
        ...(options.args ?? []),
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...process.env,
          XDG_RUNTIME_DIR: this.directory,
          XDG_STATE_HOME: this.directory,
          ...options.env,
        },
      },
    );
    this.exited = new Promise((resolve) => this.child.once('exit', resolve));
    let rest = '';
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line.startsWith('{')) this.events.push(JSON.parse(line) as MeshEvent);
      }
      for (const waiter of this.#waiters) waiter();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => this.stderr.push(chunk));
    void this.exited.then(() => {
      for (const waiter of this.#waiters) waiter();
    });
  }

  /** The copy of samples/bookinfo that this mesh reads. */
  get files(): string {
    return join(this.directory, 'bookinfo');
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.files, file), text);
  }

  read(file: string): string {
    return readFileSync(join(this.files, file), 'utf8');
  }

  get status(): StatusEvent | undefined {
    return this.events.findLast((event) => event.type === 'status') as StatusEvent | undefined;
  }

  /** Waits until a condition on what was said holds. Fails with all that was said. */
  async until<T>(condition: () => T | undefined | false, what: string, timeoutMs = 120_000): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const value = condition();
      if (value !== undefined && value !== false) return value;
      if (performance.now() > deadline || this.child.exitCode !== null) {
        const said = this.events.filter(({ type }) => type !== 'log').slice(-30);
        throw new Error(
          `${this.child.exitCode === null ? 'timed out' : `ended with ${this.child.exitCode}`} waiting for ${what}\n` +
            `${said.map((event) => JSON.stringify(event)).join('\n')}\n${this.stderr.join('').slice(-4000)}`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, 100);
        const waiters = this.#waiters;
        function done(): void {
          clearTimeout(timer);
          waiters.delete(done);
          resolve();
        }
        waiters.add(done);
      });
    }
  }

  /** Waits until every pod is ready and in sync; gives the URL of the gateway. */
  ready(pods = 7): Promise<string> {
    return this.until(() => {
      const { status } = this;
      return status !== undefined && status.settled && status.pods.length >= pods && status.urls[0];
    }, `${pods} pods ready and in sync`);
  }

  /** Access log lines of pods whose name begins so, oldest first. */
  accessLog(pod: string): string[] {
    return this.events
      .filter((event) => event.type === 'log' && String(event['pod']).startsWith(pod))
      .map((event) => String(event['text']));
  }

  async stop(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    const code = await this.exited;
    rmSync(this.directory, { recursive: true, force: true });
    return code;
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** One GET; rejects when there is no whole answer. */
export function ask(url: string, headers: Record<string, string> = {}, agent?: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = get(
      url,
      { headers, timeout: 20_000, ...(agent === undefined ? {} : { agent }) },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
        response.on('error', reject);
      },
    );
    request.on('timeout', () => request.destroy(new Error(`no answer from ${url} in 20 s`)));
    request.on('error', reject);
  });
}
