/**
 * HTTP/2 cases of the comparison: `h2` (GET, 1 KiB answers) and `grpc` (a small message each way, trailers), 8 connections of
 * 10 streams and 64 of one, through one proxy and through a pair with mutual TLS. h2load is the client, nginx the application.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProxyShape } from './envoy_config.ts';
import { cpuNanoseconds, rssMib } from './process_cost.ts';
import type { Rival } from './rivals.ts';

/** Names for `--cases`. */
export const http2CaseNames: readonly string[] = ['h2', 'grpc'];

export interface Http2Bench {
  readonly cases: readonly string[];
  readonly seconds: number;
  readonly rounds: number;
  /** Short run: 8 connections only, figures are not judged. */
  readonly sanity: boolean;
  readonly directory: string;
  readonly nginx: string;
  readonly h2load: string;
  readonly clientCore: string;
  readonly rivals: readonly Rival[];
  readonly backendPort: number;
  /** Proxies in front of the backend, by name; the client asks the first. */
  readonly chains: Readonly<Record<'plain' | 'pair', readonly ProxyShape[]>>;
  startClient(command: string[]): ChildProcess;
  stop(child: ChildProcess): Promise<void>;
  waitForPort(port: number, child: ChildProcess): Promise<void>;
  withProxies<T>(rival: Rival, shapes: ProxyShape[], use: (proxies: ChildProcess[]) => T): Promise<T>;
}

interface Row {
  readonly case: string;
  readonly proxy: string;
  readonly cpuMicros: number;
  readonly againstEnvoy: number;
  readonly requestsPerSecond: number;
  readonly rssMib: number;
}

/** nginx with prior knowledge of HTTP/2: `/details/0` is 1 KiB, all else answers as a gRPC method. */
function applicationCommand(bench: Http2Bench): string[] {
  const { directory } = bench;
  const file = join(directory, 'http2-application.conf');
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  writeFileSync(
    file,
    `worker_processes 1; daemon off; master_process off; pid ${directory}/http2-application.pid; error_log stderr error;
events { worker_connections 4000; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; http2_max_concurrent_streams 1024;
  ${temp.map((name) => `${name}_temp_path ${directory}/h-${name};`).join(' ')}
  server { listen 127.0.0.1:${bench.backendPort} http2 backlog=1024;
    location = /details/0 { default_type text/plain; return 200 "${'x'.repeat(1024)}"; }
    location / { default_type application/grpc; add_trailer grpc-status 0; return 200 "${'y'.repeat(64)}"; } } }
`,
  );
  return [bench.nginx, '-c', file];
}

interface Load {
  readonly requests: number;
  readonly failed: number;
}

function runH2load(bench: Http2Bench, port: number, kind: string, shape: Shape, duration: number): Load {
  const message = join(bench.directory, 'grpc-message');
  writeFileSync(message, Buffer.concat([Buffer.from([0, 0, 0, 0, 32]), Buffer.alloc(32, 'z')]));
  const grpc = ['-d', message, '-H', 'content-type: application/grpc', '-H', 'te: trailers'];
  const text = execFileSync(
    'taskset',
    [
      '-c',
      bench.clientCore,
      bench.h2load,
      '-t1',
      `-c${shape.connections}`,
      `-m${shape.streams}`,
      '-D',
      String(duration),
      ...(kind === 'grpc' ? grpc : []),
      `http://127.0.0.1:${port}${kind === 'grpc' ? '/bench.Echo/Unary' : '/details/0'}`,
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const counts = /(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(text);
  const good = Number(/status codes: (\d+) 2xx/.exec(text)?.[1] ?? 0);
  const [done = 0, , failed = 0, errored = 0, timeout = 0] = (counts ?? []).slice(1).map(Number);
  return { requests: done, failed: failed + errored + timeout + Math.max(0, done - good) };
}

interface Shape {
  readonly connections: number;
  readonly streams: number;
}

const loads: readonly Shape[] = [
  { connections: 8, streams: 10 },
  { connections: 64, streams: 1 },
];

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}

/** Prints a table; gives its rows and how many requests failed. */
export async function runHttp2Cases(bench: Http2Bench): Promise<{ rows: Row[]; failures: number }> {
  const application = bench.startClient(applicationCommand(bench));
  await bench.waitForPort(bench.backendPort, application);
  const samples = new Map<string, { cpu: number[]; rate: number[]; rss: number[] }>();
  let failures = 0;
  for (let round = 0; round < bench.rounds; round++) {
    for (const kind of http2CaseNames.filter((name) => bench.cases.includes(name))) {
      for (const load of bench.sanity ? loads.slice(0, 1) : loads) {
        for (const [chain, shapes] of Object.entries(bench.chains)) {
          for (const rival of bench.rivals) {
            const key = `${kind} ${chain} ${load.connections} × ${load.streams}/${rival.name}`;
            await bench.withProxies(rival, [...shapes], (proxies) => {
              const port = shapes[0]?.port ?? 0;
              runH2load(bench, port, kind, load, Math.max(1, Math.ceil(bench.seconds / 3)));
              const cpu = (): number =>
                proxies.reduce((sum, proxy) => sum + cpuNanoseconds(proxy.pid ?? 0), 0);
              const before = cpu();
              const { requests, failed } = runH2load(bench, port, kind, load, bench.seconds);
              const used = cpu() - before;
              if (failed > 0 || requests === 0) {
                failures += failed + (requests === 0 ? 1 : 0);
                console.error(`bench: ${key}: ${failed} of ${requests} requests failed`);
              }
              const sample = samples.get(key) ?? { cpu: [], rate: [], rss: [] };
              samples.set(key, sample);
              sample.cpu.push(used / 1000 / Math.max(1, requests));
              sample.rate.push(requests / bench.seconds);
              sample.rss.push(Math.max(...proxies.map((proxy) => rssMib(proxy.pid ?? 0))));
            });
          }
        }
      }
    }
  }
  await bench.stop(application);
  const rows: Row[] = [...samples].map(([key, sample]) => {
    const [name = '', proxy = ''] = key.split('/');
    const envoy = samples.get(`${name}/envoy`);
    const cpuMicros = median(sample.cpu);
    return {
      case: name,
      proxy,
      cpuMicros,
      againstEnvoy: cpuMicros / median(envoy?.cpu ?? []),
      requestsPerSecond: median(sample.rate),
      rssMib: median(sample.rss),
    };
  });
  console.table(
    rows.map((row) => ({
      case: row.case,
      proxy: row.proxy,
      'CPU µs/request': row.cpuMicros.toFixed(1),
      'against Envoy': row.againstEnvoy.toFixed(2),
      'requests/s': Math.round(row.requestsPerSecond),
      'RSS MiB': row.rssMib.toFixed(0),
    })),
  );
  return { rows, failures };
}
