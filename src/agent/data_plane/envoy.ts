/** Envoy as a child process: generated bootstrap file, log lines forwarded, exit watched. */
import { createRegistry, toJson } from '@bufbuild/protobuf';
import { spawn, type ChildProcess } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { BootstrapSchema, type Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { FileAccessLogSchema } from '#api/gen/envoy/extensions/access_loggers/file/v3/file_pb.ts';
import { RouterSchema } from '#api/gen/envoy/extensions/filters/http/router/v3/router_pb.ts';
import { HttpConnectionManagerSchema } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { DownstreamConnectionsConfigSchema } from '#api/gen/envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections_pb.ts';
import { HttpProtocolOptionsSchema } from '#api/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts';
import type { Logger } from '#base/log.ts';
import { fetchText } from '../http_fetch.ts';
import type { Endpoint } from '../options.ts';
import type { DataPlane, DataPlaneExit } from './data_plane.ts';
import { openStdoutPipe } from './stdout_pipe.ts';

/** How an Envoy is started. */
export interface EnvoyOptions {
  readonly path: string;
  readonly bootstrap: Bootstrap;
  /** Where the bootstrap is written, JSON. */
  readonly bootstrapPath: string;
  readonly admin: Endpoint;
  /** Ports of listeners whose connections are not the application's: probes and scrapes. */
  readonly ownPorts: readonly number[];
  readonly concurrency: number;
  readonly drainDurationMs: number;
  readonly logLevel?: string;
  readonly componentLogLevel?: string;
  readonly extraArgs?: readonly string[];
  readonly log: Logger;
}

/** Time for Envoy to leave after SIGTERM before SIGKILL, milliseconds. */
const killAfterMs = 5000;

/** Largest page of stats, bytes. */
const maxStatsBytes = 64 * 1024 * 1024;

const adminTimeoutMs = 5000;

/** Longest log line that is forwarded, characters. */
const maxLineChars = 8192;

/** What stands behind the Any fields of a bootstrap: a registry of all types would load them all. */
const typedConfigs = createRegistry(
  DownstreamConnectionsConfigSchema,
  FileAccessLogSchema,
  HttpConnectionManagerSchema,
  HttpProtocolOptionsSchema,
  RouterSchema,
);

/** Writes the bootstrap as JSON; typed configurations are written out by their types. */
export async function writeBootstrap(bootstrap: Bootstrap, path: string): Promise<void> {
  const json = toJson(BootstrapSchema, bootstrap, { registry: typedConfigs, useProtoFieldName: true });
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, `${JSON.stringify(json, null, 2)}\n`, { mode: 0o644 });
  await chmod(path, 0o644);
}

function envoyArgs(options: EnvoyOptions): string[] {
  const args = ['-c', options.bootstrapPath];
  args.push(
    '--drain-time-s',
    String(Math.ceil(options.drainDurationMs / 1000)),
    '--drain-strategy',
    'immediate',
  );
  args.push('--local-address-ip-version', 'v4', '--file-flush-interval-msec', '1000');
  // No shared memory region and no hot restart: several agents may run on one machine.
  args.push('--disable-hot-restart', '--allow-unknown-static-fields');
  args.push('--log-level', options.logLevel ?? 'warning');
  if (options.componentLogLevel !== undefined && options.componentLogLevel !== '') {
    args.push('--component-log-level', options.componentLogLevel);
  }
  if (options.concurrency > 0) args.push('--concurrency', String(options.concurrency));
  return [...args, ...(options.extraArgs ?? [])];
}

function forwardLines(child: ChildProcess, log: Logger): void {
  // Standard output is the access log and goes where ours goes.
  if (child.stderr === null) return;
  const lines = createInterface({ input: child.stderr });
  lines.on('line', (line) => log.info(line.slice(0, maxLineChars)));
}

function exitOf(child: ChildProcess): Promise<DataPlaneExit> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ error }));
    child.once('exit', (code, signal) => {
      resolve({ ...(code === null ? {} : { code }), ...(signal === null ? {} : { signal }) });
    });
  });
}

/** Sum of `listener.ADDRESS_PORT.downstream_cx_active` over a page of `/stats`, without admin and own listeners. */
export function countConnections(page: string, ownPorts: readonly number[]): number {
  let total = 0;
  for (const line of page.split('\n')) {
    // Names with `worker_` repeat what the total of the listener says.
    const match = /^listener\.(?!admin\.)(?:.*_(\d+))\.downstream_cx_active: (\d+)$/.exec(line);
    if (match !== null && !ownPorts.includes(Number(match[1])) && !line.includes('.worker_')) {
      total += Number(match[2]);
    }
  }
  return total;
}

/** Starts Envoy; resolves when the process has been spawned, not when it is ready. */
export async function startEnvoy(options: EnvoyOptions): Promise<DataPlane> {
  await writeBootstrap(options.bootstrap, options.bootstrapPath);
  const stdout = openStdoutPipe(dirname(options.bootstrapPath));
  const child = spawn(options.path, envoyArgs(options), { stdio: ['ignore', stdout.stdio, 'pipe'] });
  const log = options.log.scope('envoy');
  forwardLines(child, log);
  const exited = exitOf(child);
  let gone = false;
  void exited.then((exit) => {
    gone = true;
    stdout.close();
    if (exit.signal === 'SIGKILL') log.error('Envoy was killed; out of memory when nobody sent it a SIGKILL');
  });
  const admin = (method: 'GET' | 'POST', path: string) =>
    fetchText({ ...options.admin, method, path, timeoutMs: adminTimeoutMs, maxBytes: maxStatsBytes });
  return {
    exited,
    async notReady() {
      if (gone) return 'the Envoy process has ended';
      try {
        const { status, body } = await admin('GET', '/ready');
        return status === 200 ? undefined : `Envoy is ${body.trim()}`;
      } catch (error) {
        return `Envoy admin: ${error instanceof Error ? error.message : String(error)}`;
      }
    },
    async stats() {
      return { kind: 'text', text: (await admin('GET', '/stats/prometheus')).body };
    },
    async activeConnections() {
      const { body } = await admin('GET', '/stats?usedonly&filter=downstream_cx_active$');
      return countConnections(body, options.ownPorts);
    },
    async drain() {
      await admin('POST', '/drain_listeners?graceful&skip_exit');
    },
    async close() {
      if (!gone) {
        child.kill('SIGTERM');
        const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
        await exited;
        clearTimeout(timer);
      }
    },
  };
}
