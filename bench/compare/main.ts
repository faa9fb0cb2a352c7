/**
 * `npm run bench`: our proxy, Envoy, HAProxy and nginx in the same minutes on the same core; wrk and h2load as clients,
 * nginx as backend, 1 KiB bodies, 64 connections. Prints a table and writes JSON.
 *
 *   node bench/compare/main.ts [--seconds 6] [--rounds 3] [--only NAME,NAME] [--cases plain,pair,latency,h2,grpc,tcp,connections,idle,workers] [--access-log] [--out FILE]
 *                              [--sanity]   short run: every proxy must answer every request; figures are not judged
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeCertificates } from './certificates.ts';
import type { ProxyShape } from './envoy_config.ts';
import { http2CaseNames, runHttp2Cases } from './http2_cases.ts';
import { cpuNanoseconds, rssMib } from './process_cost.ts';
import { backendCommand, findEnvoy, findRivals, type Rival, type Tools } from './rivals.ts';
import { runTcpCases, tcpCaseNames } from './tcp_cases.ts';
import { runWorkersCase } from './workers_case.ts';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '6' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    cases: { type: 'string', default: 'plain,pair,latency,h2,grpc' },
    'access-log': { type: 'boolean', default: false },
    out: { type: 'string', default: 'bench/compare/result.json' },
    sanity: { type: 'boolean', default: false },
  },
});
const seconds = flags.sanity ? 1 : Number(flags.seconds);
const rounds = flags.sanity ? 1 : Number(flags.rounds);
const proxyCore = '0';
const clientCore = cpus().length > 1 ? '1' : '0';
const directory = mkdtempSync(join(tmpdir(), 'trysail-bench-'));
const children = new Set<ChildProcess>();

/** Starts a command pinned to a core; output goes to a file in the run's directory. */
function start(core: string, command: string[]): ChildProcess {
  const log = openSync(join(directory, 'output.log'), 'a');
  const child = spawn('taskset', ['-c', core, ...command], { stdio: ['ignore', log, log] });
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

async function waitForPort(port: number, child: ChildProcess): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (child.exitCode !== null)
      throw new Error(
        `a proxy ended at start:\n${readFileSync(join(directory, 'output.log'), 'utf8').slice(-2000)}`,
      );
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on ${port} after 10 s`);
}

interface Load {
  readonly requests: number;
  readonly failed: number;
}

/** wrk: as many requests as go through 64 connections. */
function runWrk(tools: Tools, port: number, duration: number): Load {
  const text = execFileSync(
    'taskset',
    [
      '-c',
      clientCore,
      tools.wrk,
      '-t1',
      '-c64',
      `-d${duration}s`,
      '-H',
      'User-Agent: bench',
      `http://127.0.0.1:${port}/details/0`,
    ],
    { encoding: 'utf8' },
  );
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  const non2xx = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0);
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  const broken = errors === null ? 0 : errors.slice(1).reduce((sum, n) => sum + Number(n), 0);
  return { requests, failed: non2xx + broken };
}

/** h2load at a fixed rate of 1000 requests/s over 16 connections; latencies in µs, sorted. */
function runPaced(h2load: string, port: number, duration: number): number[] {
  const log = join(directory, `h2load-${port}.log`);
  rmSync(log, { force: true });
  execFileSync(
    'taskset',
    [
      '-c',
      clientCore,
      h2load,
      '--h1',
      '-c16',
      '-t1',
      '--rps',
      '62.5',
      '-D',
      String(duration),
      `--log-file=${log}`,
      `http://127.0.0.1:${port}/details/0`,
    ],
    { stdio: 'pipe' },
  );
  const latencies: number[] = [];
  for (const line of readFileSync(log, 'utf8').split('\n')) {
    const [, status, micros] = line.split('\t');
    if (status === undefined || micros === undefined) continue;
    if (status !== '200') throw new Error(`a paced request got ${status}`);
    latencies.push(Number(micros));
  }
  return latencies.sort((a, b) => a - b);
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

interface Sample {
  cpuMicros: number;
  requestsPerSecond: number;
  rssMib: number;
}

interface PacedSample {
  p50: number;
  p99: number;
}

const basePort = 21000 + (process.pid % 500) * 20;
const backendPort = basePort;
const frontPort = basePort + 1;
const backPort = basePort + 2;

/** One proxy or a pair in front of the backend: client -> [originate] -> [terminate] -> backend. */
async function withProxies<T>(
  rival: Rival,
  shapes: ProxyShape[],
  use: (proxies: ChildProcess[]) => T | Promise<T>,
): Promise<T> {
  const proxies: ChildProcess[] = [];
  try {
    for (const shape of shapes.toReversed()) {
      const child = start(proxyCore, rival.command(shape, directory));
      proxies.push(child);
      await waitForPort(shape.port, child);
    }
    return await use(proxies);
  } finally {
    for (const child of proxies) await stop(child);
  }
}

async function main(): Promise<number> {
  const { rivals: all, tools, missing } = findRivals();
  if (missing.length > 0) console.error(`bench: not found and left out: ${missing.join(', ')}`);
  if (tools === undefined) {
    console.error(
      'bench: needs nginx (backend) and wrk (client): apt-get install nginx wrk nghttp2-client haproxy',
    );
    return process.env['CI'] === 'true' ? 1 : 0;
  }
  if (process.env['CI'] === 'true' && missing.length > 0) return 1;
  const only = flags.only?.split(',');
  const rivals = all.filter((rival) => only === undefined || only.includes(rival.name));
  const cases = flags.cases.split(',');
  const certificates = makeCertificates(directory);
  const accessLog = flags['access-log'] ? '/dev/null' : undefined;
  const shape = (port: number, upstreamPort: number, tls: ProxyShape['tls']): ProxyShape => ({
    port,
    adminPort: port + 10,
    upstreamPort,
    tls,
    certificates,
    accessLog,
  });
  const single = [shape(frontPort, backendPort, 'none')];
  const pair = [shape(frontPort, backPort, 'originate'), shape(backPort, backendPort, 'terminate')];
  const backend = start(clientCore, backendCommand(tools.nginx, backendPort, directory));
  await waitForPort(backendPort, backend);

  const samples = new Map<string, Sample[]>();
  const paced = new Map<string, PacedSample[]>();
  let failures = 0;
  const push = <V>(map: Map<string, V[]>, key: string, value: V): void =>
    void map.set(key, [...(map.get(key) ?? []), value]);
  for (let round = 0; round < rounds; round++) {
    for (const [name, shapes] of [
      ['plain', single],
      ['pair', pair],
    ] as const) {
      if (!cases.includes(name)) continue;
      for (const rival of rivals) {
        await withProxies(rival, [...shapes], (proxies) => {
          runWrk(tools, frontPort, Math.max(1, Math.ceil(seconds / 3))); // warm-up: JIT, pools, caches
          const before = proxies.map((proxy) => cpuNanoseconds(proxy.pid ?? 0));
          const load = runWrk(tools, frontPort, seconds);
          const used = proxies.reduce(
            (sum, proxy, i) => sum + cpuNanoseconds(proxy.pid ?? 0) - (before[i] ?? 0),
            0,
          );
          failures += load.failed + (load.requests === 0 ? 1 : 0);
          if (load.failed > 0 || load.requests === 0)
            console.error(`bench: ${name} ${rival.name}: ${load.failed} of ${load.requests} requests failed`);
          push(samples, `${name}/${rival.name}`, {
            cpuMicros: used / 1000 / Math.max(1, load.requests),
            requestsPerSecond: load.requests / seconds,
            rssMib: Math.max(...proxies.map((proxy) => rssMib(proxy.pid ?? 0))),
          });
        });
      }
    }
    if (cases.includes('latency') && tools.h2load !== undefined) {
      const h2load = tools.h2load;
      const direct = runPaced(h2load, backendPort, seconds);
      for (const rival of rivals) {
        await withProxies(rival, [...pair], () => {
          runPaced(h2load, frontPort, Math.max(2, Math.ceil(seconds / 2)));
          const through = runPaced(h2load, frontPort, seconds);
          push(paced, rival.name, {
            p50: quantile(through, 0.5) - quantile(direct, 0.5),
            p99: quantile(through, 0.99) - quantile(direct, 0.99),
          });
        });
      }
    }
  }
  report(rivals, samples, paced);
  if (tools.h2load !== undefined && cases.some((name) => http2CaseNames.includes(name))) {
    const http2 = (one: ProxyShape): ProxyShape => ({ ...one, http2: true });
    const http2Port = basePort + 4;
    const { rows, failures: failed } = await runHttp2Cases({
      cases,
      seconds,
      rounds,
      sanity: flags.sanity,
      directory,
      nginx: tools.nginx,
      h2load: tools.h2load,
      clientCore,
      rivals: rivals.filter(({ name }) => name === 'trysail' || name === 'envoy'),
      backendPort: http2Port,
      chains: {
        plain: [http2(shape(frontPort, http2Port, 'none'))],
        pair: [
          http2(shape(frontPort, backPort, 'originate')),
          http2(shape(backPort, http2Port, 'terminate')),
        ],
      },
      startClient: (command) => start(clientCore, command),
      stop,
      waitForPort,
      withProxies,
    });
    failures += failed;
    writeFileSync(flags.out.replace(/\.json$/, '.http2.json'), `${JSON.stringify(rows, null, 2)}\n`);
  }
  if (cases.some((name) => tcpCaseNames.includes(name))) {
    const envoy = findEnvoy() ?? 'envoy';
    const ours = [
      process.execPath,
      'bin/trysail',
      'proxy',
      '--concurrency',
      '1',
      '--log-level',
      'warn',
      '-c',
    ];
    const theirs = [envoy, '--concurrency', '1', '--use-dynamic-base-id', '--log-level', 'error', '-c'];
    const all = { trysail: (file: string) => [...ours, file], envoy: (file: string) => [...theirs, file] };
    const rows = await runTcpCases({
      cases,
      rounds,
      sanity: flags.sanity,
      directory,
      certificates,
      basePort: basePort + 3,
      commands: Object.fromEntries(Object.entries(all).filter(([name]) => only?.includes(name) ?? true)),
      start: (command) => start(proxyCore, command),
      stop,
      waitForPort,
    });
    writeFileSync(flags.out.replace(/\.json$/, '.tcp.json'), `${JSON.stringify(rows, null, 2)}\n`);
  }
  const ours = rivals.find(({ name }) => name === 'trysail');
  if (cases.includes('workers') && ours !== undefined) {
    const { results, failures: failed } = await runWorkersCase({
      rounds,
      seconds,
      command: (workers) =>
        ours
          .command(single[0] as ProxyShape, directory)
          .map((word, i, all) => (all[i - 1] === '--concurrency' ? String(workers) : word)),
      start,
      stop,
      ready: (child) => waitForPort(frontPort, child),
      load: (duration) => runWrk(tools, frontPort, duration),
    });
    failures += failed;
    writeFileSync(flags.out.replace(/\.json$/, '.workers.json'), `${JSON.stringify(results, null, 2)}\n`);
  }
  return failures === 0 ? 0 : 1;
}

function report(
  rivals: readonly Rival[],
  samples: Map<string, Sample[]>,
  paced: Map<string, PacedSample[]>,
): void {
  const rows: Record<string, string | number>[] = [];
  const result: Record<string, unknown>[] = [];
  for (const name of ['plain', 'pair']) {
    const of = (rival: string): Sample[] => samples.get(`${name}/${rival}`) ?? [];
    const envoyCpu = median(of('envoy').map((sample) => sample.cpuMicros));
    for (const rival of rivals) {
      const mine = of(rival.name);
      if (mine.length === 0) continue;
      const cpuMicros = median(mine.map((sample) => sample.cpuMicros));
      const requestsPerSecond = median(mine.map((sample) => sample.requestsPerSecond));
      const rss = median(mine.map((sample) => sample.rssMib));
      rows.push({
        case: name,
        proxy: rival.name,
        'CPU µs/request': cpuMicros.toFixed(1),
        'against Envoy': (cpuMicros / envoyCpu).toFixed(2),
        'requests/s': Math.round(requestsPerSecond),
        'RSS MiB': rss.toFixed(0),
      });
      result.push({
        case: name,
        proxy: rival.name,
        cpuMicros,
        againstEnvoy: cpuMicros / envoyCpu,
        requestsPerSecond,
        rssMib: rss,
        rounds: mine,
      });
    }
  }
  for (const rival of rivals) {
    const mine = paced.get(rival.name) ?? [];
    if (mine.length === 0) continue;
    const p50 = median(mine.map((sample) => sample.p50));
    const p99 = median(mine.map((sample) => sample.p99));
    rows.push({
      case: 'pair at 1000 rps',
      proxy: rival.name,
      'added p50 µs': Math.round(p50),
      'added p99 µs': Math.round(p99),
    });
    result.push({
      case: 'latency',
      proxy: rival.name,
      addedP50Micros: p50,
      addedP99Micros: p99,
      rounds: mine,
    });
  }
  if (rows.length > 0) console.table(rows);
  writeFileSync(
    flags.out,
    `${JSON.stringify({ date: new Date().toISOString(), cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, seconds, rounds, accessLog: flags['access-log'], result }, null, 2)}\n`,
  );
}

try {
  process.exitCode = await main();
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
}
