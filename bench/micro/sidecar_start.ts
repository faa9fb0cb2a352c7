/**
 * What stands between a pod's sidecar and its first request: from exec(2) of `pilot-agent proxy sidecar` to 200 of
 * 15021/healthz/ready, against a running `pilot-discovery` with 50 services (token, CSR, xDS, secrets, warm listeners).
 * Programs take turns; each start is a new process of uid 1337 that can write nothing but its run directory. Root: the
 * sidecars' fixed ports lie in a network namespace of the bench.
 *
 *   node bench/micro/sidecar_start.ts [--rounds 10] [--log] [--launcher NAME] [NAME=PROGRAM ...]
 *
 * PROGRAM is `bin/trysail` of a checkout or the rootfs of an image (`node scripts/image/build.ts --rootfs DIR`). Default:
 * this checkout. --launcher: the entry point of this image is `pilot-agent` alone, as it was. RSS is read 2 s after the
 * sidecar is ready. CPU counts until it is ready: where other work shares the machine it says more than the time.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { TokenIssuer } from '#security/authn/token_issuer.ts';
import { imageEntrypoint } from '../../scripts/image/bundle.ts';
import { cpuNanoseconds, rssMib } from '../compare/process_cost.ts';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '10' },
    log: { type: 'boolean', default: false },
    launcher: { type: 'string', multiple: true, default: [] },
  },
});
const root = join(import.meta.dirname, '..', '..');
const inNamespace = 'TRYSAIL_BENCH_NETNS';
const user = 1337;

if (process.env[inNamespace] === undefined) {
  const { status, error } = spawnSync(
    'unshare',
    ['--net', '--mount', process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    { stdio: 'inherit', env: { ...process.env, [inNamespace]: '1' } },
  );
  if (error !== undefined) throw error;
  process.exit(status ?? 1);
}
spawnSync('ip', ['link', 'set', 'lo', 'up'], { stdio: 'inherit' });

const directory = mkdtempSync(join(tmpdir(), 'trysail-start-'));
chmodSync(directory, 0o755);
const config = join(directory, 'config');
mkdirSync(config);

/** 50 services of one endpoint each. */
function manifests(): string {
  return Array.from({ length: 50 }, (_, i) => {
    const name = `service-${i}`;
    return `apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: default }
spec:
  clusterIP: 10.96.1.${i + 1}
  selector: { app: ${name} }
  ports: [{ name: http, port: ${8000 + (i % 5)}, targetPort: 8080 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}-a, namespace: default, labels: { kubernetes.io/service-name: ${name} } }
addressType: IPv4
ports: [{ name: http, port: 8080, protocol: TCP }]
endpoints: [{ addresses: [10.0.1.${i + 1}], conditions: { ready: true } }]
---
`;
  }).join('');
}

const issuer = await TokenIssuer.open();
writeFileSync(join(config, 'services.yaml'), manifests());
writeFileSync(join(directory, 'jwks.json'), JSON.stringify(await issuer.jwks()));

const plane = spawn(
  process.execPath,
  [
    join(root, 'bin/trysail'),
    'pilot-discovery',
    'discovery',
    `--configDir=${config}`,
    `--caDir=${join(directory, 'ca')}`,
    '--grpcAddr=',
    '--secureGRPCAddr=127.0.0.1:15012',
    '--httpAddr=127.0.0.1:8080',
    '--monitoringAddr=',
    '--httpsAddr=',
    '--tlsName=127.0.0.1',
    `--tokenIssuer=${issuer.issuer}`,
    `--tokenJwks=${join(directory, 'jwks.json')}`,
  ],
  { stdio: ['ignore', 'inherit', 'pipe'] },
);
let planeLog = '';
plane.stderr?.setEncoding('utf8').on('data', (text: string) => (planeLog += text));

/** Status of a GET, 0 when nothing answers. */
function status(port: number, path: string): Promise<number> {
  return new Promise((done) => {
    const request = get({ host: '127.0.0.1', port, path, agent: false, timeout: 2000 }, (response) => {
      response.resume();
      done(response.statusCode ?? 0);
    });
    request.on('error', () => done(0)).on('timeout', () => request.destroy());
  });
}

async function until(what: string, port: number, path: string, everyMs: number): Promise<void> {
  const endMs = performance.now() + 60_000;
  while ((await status(port, path)) !== 200) {
    if (performance.now() > endMs) throw new Error(`${what} is not ready after a minute\n${planeLog}`);
    await sleep(everyMs);
  }
}

interface Program {
  readonly name: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Run with this root. */
  readonly rootfs: string | undefined;
  readonly readyMs: number[];
  readonly cpuMs: number[];
  readonly rss: number[];
}

/** A program as a container of its image starts it, or as a checkout does. */
function programOf(text: string): Program {
  const at = text.indexOf('=');
  const path = resolve(text.slice(at + 1));
  const own = { name: text.slice(0, at), readyMs: [], cpuMs: [], rss: [] };
  if (!statSync(path).isDirectory())
    return { ...own, rootfs: undefined, env: {}, command: [process.execPath, path, 'pilot-agent'] };
  const command = flags.launcher.includes(own.name) ? ['/usr/local/bin/pilot-agent'] : imageEntrypoint;
  return {
    ...own,
    rootfs: path,
    env: { MALLOC_ARENA_MAX: '1' },
    command: ['chroot', `--userspec=${user}:${user}`, path, ...command],
  };
}

const programs = (positionals.length === 0 ? [`checkout=${join(root, 'bin/trysail')}`] : positionals).map(
  programOf,
);

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

async function startOnce(program: Program, measured: boolean): Promise<void> {
  const { rootfs } = program;
  const pod = mkdtempSync(join(rootfs === undefined ? directory : join(rootfs, 'tmp'), 'pod-'));
  const token = await issuer.issue({ namespace: 'default', serviceAccount: 'web', podName: 'web-1' });
  writeFileSync(join(pod, 'istio-token'), token);
  writeFileSync(join(pod, 'root-cert.pem'), readFileSync(join(directory, 'ca', 'root-cert.pem')));
  writeFileSync(join(pod, 'labels'), 'app="web"\n');
  for (const file of ['', 'istio-token', 'root-cert.pem', 'labels']) chownSync(join(pod, file), user, user);
  const [command = '', ...args] = program.command;
  const started = performance.now();
  const child: ChildProcess = spawn(
    command,
    [...args, 'proxy', 'sidecar', '--domain', 'default.svc.cluster.local', '--concurrency', '1'],
    {
      cwd: pod,
      ...(rootfs === undefined ? { uid: user, gid: user } : {}),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        ...(process.env['CACHE'] === undefined ? {} : { NODE_COMPILE_CACHE: process.env['CACHE'] }),
        TMPDIR: '/nonexistent',
        POD_NAME: 'web-1',
        POD_NAMESPACE: 'default',
        INSTANCE_IP: '127.0.0.1',
        SERVICE_ACCOUNT: 'web',
        CA_ADDR: '127.0.0.1:15012',
        PROXY_CONFIG: JSON.stringify({ discoveryAddress: '127.0.0.1:15012', terminationDrainDuration: '0s' }),
        TRYSAIL_POD_DIRECTORY: rootfs === undefined ? pod : `/${relative(rootfs, pod)}`,
      },
    },
  );
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = new Promise((done) => child.once('exit', done));
  try {
    await until('the sidecar', 15021, '/healthz/ready', 5).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${log}`);
    });
    const ms = performance.now() - started;
    const cpu = cpuNanoseconds(child.pid ?? 0) / 1e6;
    if (measured) {
      program.readyMs.push(ms);
      program.cpuMs.push(cpu);
    }
    await sleep(2000);
    const mib = rssMib(child.pid ?? 0);
    if (measured) program.rss.push(mib);
    console.log(
      `${program.name.padEnd(12)} ${ms.toFixed(0).padStart(6)} ms, CPU ${cpu.toFixed(0).padStart(5)} ms, ${mib.toFixed(0).padStart(4)} MiB${measured ? '' : '  (not counted)'}`,
    );
    if (flags.log) console.log(log);
  } finally {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await exited;
    clearTimeout(timer);
    rmSync(pod, { recursive: true });
  }
}

try {
  await until('the control plane', 8080, '/ready', 50);
  for (const program of programs) await startOnce(program, false);
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const program of programs) await startOnce(program, true);
  const columns = (values: readonly number[]): string =>
    [Math.min(...values), median(values), Math.max(...values)].map((v) => v.toFixed(0).padStart(7)).join('');
  console.log(
    '\nlowest, median, highest     ms to ready               CPU ms until then              RSS MiB',
  );
  for (const { name, readyMs, cpuMs, rss } of programs)
    console.log(`${name.padEnd(18)}${[readyMs, cpuMs, rss].map(columns).join('     ')}`);
} finally {
  const ended = new Promise((done) => plane.once('exit', done));
  plane.kill();
  await ended;
  rmSync(directory, { recursive: true });
}
