/**
 * What pushes and scrapes cost requests: a proxy on one core, paced requests (1000/s over 16 connections) through it, while
 * a control plane changes clusters, endpoints and routes of a mesh with 500 services and the metrics page is scraped.
 *
 *   node bench/micro/push_latency.ts [--seconds 15] [--threads] [--realtime] [--turns]
 *
 * --threads: a worker thread in place of the main thread; --realtime: ahead of all else on the machine (root); --turns: in
 * place of latencies the longest turns of the proxy's event loop, the most that a request waits.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { toBinary } from '@bufbuild/protobuf';
import type { JsonValue } from '@bufbuild/protobuf';
import { BootstrapSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import {
  TestControlPlane,
  adsBootstrap,
  assignment,
  bootstrapOf,
  edsCluster,
  httpListener,
  until,
} from '#proxy/server/testing.ts';
import { registerAds } from '#xds/server/discovery_services.ts';
import { GrpcServer } from '#xds/server/grpc_server.ts';
import { typeUrls } from '#xds/type_url.ts';
import { cpuNanoseconds, rssMib } from '../compare/process_cost.ts';
import { backendCommand } from '../compare/rivals.ts';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '15' },
    threads: { type: 'boolean', default: false },
    realtime: { type: 'boolean', default: false },
    turns: { type: 'boolean', default: false },
  },
});
const services = 500;
/** Pinned to a core, ahead of others when asked to. */
function pinned(core: string, ...command: string[]): [string, string[]] {
  const first = flags.realtime ? ['nice', '-n', '-20'] : [];
  return ['taskset', ['-c', core, ...first, ...command]];
}

/**
 * Runs in the proxy: notes the longest turn of each half second, and prints their quartiles on a signal. On a machine with
 * neighbours the lower one is what the code takes.
 */
const turnProbe = `
let longest = [];
let max = 0;
let before = performance.now();
let windowEnds = before + 500;
function turn() {
  const now = performance.now();
  if (now - before > max) max = now - before;
  before = now;
  if (now > windowEnds) {
    longest.push(max);
    max = 0;
    windowEnds = now + 500;
  }
  setImmediate(turn);
}
turn();
process.on('SIGUSR2', () => {
  longest.sort((a, b) => a - b);
  const at = (q) => longest[Math.floor(longest.length * q)]?.toFixed(1);
  console.log('  longest turn of half a second, ms: lower quartile ' + at(0.25) + ', median ' + at(0.5));
  longest = [];
});
`;

const directory = mkdtempSync(join(tmpdir(), 'trysail-push-'));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const [port, backendPort, adminPort] = [await freePort(), await freePort(), await freePort()];
const plane = new TestControlPlane();

/** A route configuration with every service as virtual host, as a sidecar's outbound port 80 has it. */
function routes(version: number): JsonValue {
  const hosts = Array.from({ length: services }, (_, i) => ({
    name: `service-${i}`,
    domains: [`service-${i}`, `service-${i}.default`, `service-${i}.default.svc.cluster.local`],
    routes: [
      {
        name: `v${version}`,
        match: { prefix: '/' },
        route: {
          cluster: `service-${i}`,
          timeout: '0s',
          retry_policy: { retry_on: 'connect-failure', num_retries: 2 },
        },
      },
    ],
  }));
  const all = {
    name: 'all',
    domains: ['*'],
    routes: [{ match: { prefix: '/' }, route: { cluster: 'service-0' } }],
  };
  return { name: 'routes', virtual_hosts: [...hosts, all] };
}

for (let i = 0; i < services; i++) {
  plane.set(typeUrls.cds, `service-${i}`, edsCluster(`service-${i}`));
  plane.set(typeUrls.eds, `service-${i}`, assignment(`service-${i}`, backendPort));
}
plane.set(typeUrls.rds, 'routes', routes(0));
plane.set(typeUrls.lds, 'in', httpListener('in', port, 'routes'));
await plane.push();

const socket = join(directory, 'XDS');
const server = new GrpcServer({ routes: (router) => registerAds(router, plane.server) });
await server.listen({ path: socket });
const bootstrap = adsBootstrap('delta');
bootstrap.admin!.address!.address = {
  case: 'socketAddress',
  value: {
    ...(bootstrap.admin!.address!.address.value as object),
    portSpecifier: { case: 'portValue', value: adminPort },
  } as never,
};
bootstrap.staticResources = bootstrapOf({
  static_resources: {
    clusters: [
      {
        name: 'xds-grpc',
        type: 'STATIC',
        load_assignment: {
          cluster_name: 'xds-grpc',
          endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: socket } } } }] }],
        },
      },
    ],
  },
}).staticResources!;
writeFileSync(join(directory, 'bootstrap.pb'), toBinary(BootstrapSchema, bootstrap));
const main = new URL('../../src/proxy/server/main.ts', import.meta.url).pathname;
const log = new URL('../../src/base/log.ts', import.meta.url).pathname;
writeFileSync(
  join(directory, 'proxy.mjs'),
  `import { readFileSync } from 'node:fs';
import { startProxy } from ${JSON.stringify(main)};
import { createLogger } from ${JSON.stringify(log)};
${flags.turns ? turnProbe : ''}
await startProxy({ bootstrap: new Uint8Array(readFileSync(${JSON.stringify(join(directory, 'bootstrap.pb'))})),
  concurrency: 1, inline: ${!flags.threads}, log: createLogger({ level: 'warn' }), logLevel: 'warn' });
`,
);

const backend = spawn(...pinned('1', ...backendCommand('/usr/sbin/nginx', backendPort, directory)));
const proxy = spawn(
  ...pinned('0', process.execPath, '--max-semi-space-size=2', join(directory, 'proxy.mjs')),
  {
    stdio: 'inherit',
  },
);

/** h2load at 1000 requests a second over 16 connections. */
function startLoad(seconds: number): ChildProcess {
  const file = join(directory, 'latencies');
  rmSync(file, { force: true });
  const args = ['--h1', '-c16', '-t1', '--rps', '62.5', '-D', String(seconds), `--log-file=${file}`];
  return spawn(...pinned('1', 'h2load', ...args, `http://127.0.0.1:${port}/`), { stdio: 'ignore' });
}

async function measure(
  what: string,
  seconds: number,
  during: (() => Promise<void>) | undefined,
): Promise<void> {
  const before = cpuNanoseconds(proxy.pid ?? 0);
  const ended = once(startLoad(seconds), 'exit');
  let over = false;
  void ended.then(() => (over = true));
  while (!over && during !== undefined) {
    await during();
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  await ended;
  if (flags.turns) {
    console.log(what);
    proxy.kill('SIGUSR2');
    await new Promise((resolve) => setTimeout(resolve, 200));
    return;
  }
  const latencies = readFileSync(join(directory, 'latencies'), 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, status, micros] = line.split('\t');
      if (micros === undefined) return [];
      if (status !== '200') throw new Error(`a request got ${status}`);
      return [Number(micros)];
    })
    .sort((a, b) => a - b);
  const at = (q: number): string => ((latencies[Math.floor(latencies.length * q)] ?? NaN) / 1000).toFixed(2);
  const cpu = (cpuNanoseconds(proxy.pid ?? 0) - before) / 1e9 / seconds;
  console.log(
    `${what.padEnd(34)} p50 ${at(0.5)} p90 ${at(0.9)} p99 ${at(0.99)} p99.9 ${at(0.999)} max ${at(0.99999)} ms, ` +
      `${(cpu * 100).toFixed(0)} % CPU, ${rssMib(proxy.pid ?? 0).toFixed(0)} MiB`,
  );
}

try {
  for (let tries = 0; tries < 6; tries++) {
    const serves = until(
      () =>
        fetch(`http://127.0.0.1:${port}/`).then(
          (response) => response.ok,
          () => false,
        ),
      'the proxy serves',
    );
    if (
      await serves.then(
        () => true,
        () => false,
      )
    )
      break;
  }
  const seconds = Number(flags.seconds);
  console.log(flags.threads ? 'worker thread' : 'main thread');
  await measure('warm-up', 5, undefined);
  await measure('quiet', seconds, undefined);
  let version = 0;
  await measure('endpoints of 20 services, 2/s', seconds, async () => {
    version++;
    for (let i = 1; i <= 20; i++)
      plane.set(
        typeUrls.eds,
        `service-${i}`,
        assignment(`service-${i}`, backendPort, 10_000 + (version % 1000)),
      );
    await plane.push();
  });
  await measure('50 clusters, 2/s', seconds, async () => {
    version++;
    for (let i = 1; i <= 50; i++)
      plane.set(typeUrls.cds, `service-${i}`, edsCluster(`service-${i}`, { connect_timeout: `${version}s` }));
    await plane.push();
  });
  await measure('routes of 500 services, 2/s', seconds, async () => {
    plane.set(typeUrls.rds, 'routes', routes(++version));
    await plane.push();
  });
  await measure('metrics page, 2/s', seconds, async () => {
    await (await fetch(`http://127.0.0.1:${adminPort}/stats/prometheus`)).text();
  });
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  proxy.kill();
  backend.kill();
  await server.close();
  rmSync(directory, { recursive: true, force: true });
  process.exit();
}
