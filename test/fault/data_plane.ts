/** A data plane as a process of its own, whose memory and descriptors are read while bad things happen to it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../src/proxy/server/testing.ts';
import { type DataPlane, dataPlaneCommand } from '../harness/conformance.ts';
import { type Answer, send } from '../harness/http_request.ts';

/** Resolves when `test` is true; rejects after `timeoutMs`. */
export async function until(
  test: () => boolean | Promise<boolean>,
  what: string | (() => string),
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await test())) {
    if (performance.now() > deadline)
      throw new Error(`not in ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`);
    await sleep(20);
  }
}

export interface DataPlaneOptions {
  /** A bootstrap with `${port:NAME}`, `${dir}` and the names of `values`. `admin` and `in` are always there. */
  readonly yaml: string;
  readonly values?: Readonly<Record<string, string | number>>;
  /** Files of `${dir}`. */
  readonly files?: Readonly<Record<string, string>>;
  /** Worker threads, default 1. */
  readonly concurrency?: number;
  /** Further arguments, which both data planes know. */
  readonly args?: readonly string[];
}

export class DataPlaneProcess {
  readonly kind: DataPlane;
  readonly directory: string = mkdtempSync(join(tmpdir(), 'trysail-fault-'));
  readonly #ports = new Map<string, number>();
  #child: ChildProcess | undefined;
  exited = false;

  private constructor(kind: DataPlane) {
    this.kind = kind;
  }

  /** Resolves when it is ready. */
  static async start(kind: DataPlane, options: DataPlaneOptions): Promise<DataPlaneProcess> {
    const plane = new DataPlaneProcess(kind);
    try {
      await plane.#start(options);
    } catch (error) {
      await plane.stop();
      throw error;
    }
    return plane;
  }

  async #start({
    yaml,
    values = {},
    files = {},
    concurrency = 1,
    args: more = [],
  }: DataPlaneOptions): Promise<void> {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.directory, name), text);
    for (const [, name = ''] of yaml.matchAll(/\$\{port:([\w-]+)\}/g))
      if (!this.#ports.has(name)) this.#ports.set(name, await freePort());
    const text = yaml.replaceAll(/\$\{(port:)?([\w-]+)\}/g, (whole, port: string | undefined, name: string) =>
      port !== undefined
        ? String(this.port(name))
        : name === 'dir'
          ? this.directory
          : String(values[name] ?? whole),
    );
    const bootstrap = join(this.directory, 'bootstrap.yaml');
    writeFileSync(bootstrap, text);
    const [command = '', ...args] = dataPlaneCommand(this.kind, bootstrap);
    args[args.indexOf('--concurrency') + 1] = String(concurrency);
    args.push(...more);
    const log = openSync(join(this.directory, 'proxy.log'), 'a');
    const child = spawn(command, args, { stdio: ['ignore', log, log], cwd: this.directory });
    child.once('exit', () => (this.exited = true));
    this.#child = child;
    await until(
      async () => {
        if (this.exited) throw new Error(`${this.kind} ended at once:\n${this.log()}`);
        return (await this.admin('/ready').catch(() => undefined))?.status === 200;
      },
      () => `${this.kind} is ready:\n${this.log()}`,
      60_000,
    );
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  port(name = 'in'): number {
    const port = this.#ports.get(name);
    if (port === undefined) throw new Error(`the YAML names no \${port:${name}}`);
    return port;
  }

  admin(path: string, method = 'GET'): Promise<Answer> {
    return send(this.port('admin'), path, { method });
  }

  /** Value of a counter or gauge by Envoy's name; 0 when it is not there. */
  async stat(name: string): Promise<number> {
    const { body } = await this.admin(`/stats?filter=${encodeURIComponent(`^${RegExp.escape(name)}$`)}`);
    return Number(body.split('\n')[0]?.split(': ')[1] ?? 0);
  }

  /** Resident memory, MiB. */
  rss(): number {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1];
    return Number(kib) / 1024;
  }

  /** Open descriptors. */
  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  log(): string {
    return readFileSync(join(this.directory, 'proxy.log'), 'utf8').slice(-4000);
  }
}

/** Flow style on several lines has to be indented: this takes the care off. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ');
}

/** Filters of an HTTP connection manager that sends all to cluster `app`; in flow style. */
export function httpFilters(statPrefix: string, more = ''): string {
  return oneLine(`[{ name: envoy.filters.network.http_connection_manager, typed_config: {
    '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
    stat_prefix: ${statPrefix},
    route_config: { name: r, virtual_hosts: [{ name: all, domains: ['*'], routes: [{ match: { prefix: / }, route: { cluster: app, timeout: 0s } }] }] },
    ${more}
    http_filters: [{ name: envoy.filters.http.router, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }] } }]`);
}

/** A static cluster of one address. */
export function staticCluster(name: string, port: number | string, more = ''): string {
  return oneLine(`{ name: ${name}, type: STATIC, connect_timeout: 1s, ${more}
    load_assignment: { cluster_name: ${name}, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } }] }] } }`);
}

/** A network filter that sends bytes to cluster `app`. */
export function tcpFilters(statPrefix: string): string {
  return oneLine(`[{ name: envoy.filters.network.tcp_proxy, typed_config: {
    '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
    stat_prefix: ${statPrefix}, cluster: app } }]`);
}

export const adminYaml =
  'admin: { address: { socket_address: { address: 127.0.0.1, port_value: ${port:admin} } } }\n';
