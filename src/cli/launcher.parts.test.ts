import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../../bin/trysail', import.meta.url));

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-launcher-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs `trysail --version` and gives the folders of compiled code that it made below `home` and `temporary`. */
function run(home: string, temporary: string, more: Record<string, string> = {}): string[] {
  execFileSync(process.execPath, [launcher, '--version'], {
    env: { PATH: process.env['PATH'] ?? '', HOME: home, TMPDIR: temporary, ...more },
  });
  const uid = process.getuid?.() ?? 0;
  const places = {
    home: join(home, '.cache', 'trysail'),
    temporary: join(temporary, `trysail-cache-${uid}`),
    named: join(temporary, 'named'),
  };
  return Object.entries(places).flatMap(([name, path]) =>
    existsSync(path) && readdirSync(path).length > 0 ? [name] : [],
  );
}

test('compiled code is kept where nobody else can write', (t) => {
  const directory = temporaryDirectory(t);
  const folder = (name: string): string => {
    mkdirSync(join(directory, name), { recursive: true });
    return join(directory, name);
  };
  assert.deepEqual(run(folder('a/home'), folder('a/tmp')), ['home']);
  assert.equal(statSync(join(directory, 'a/home/.cache/trysail')).mode & 0o777, 0o700);

  chmodSync(folder('b/home/.cache/trysail'), 0o777);
  assert.deepEqual(
    run(folder('b/home'), folder('b/tmp')),
    ['temporary'],
    'another user may have written there',
  );

  const named = folder('c/tmp/named');
  assert.deepEqual(run(folder('c/home'), folder('c/tmp'), { NODE_COMPILE_CACHE: named }), ['named']);
  assert.deepEqual(run(folder('d/home'), folder('d/tmp'), { NODE_DISABLE_COMPILE_CACHE: '1' }), []);
  assert.deepEqual(run(join(directory, 'missing'), folder('e/tmp')), ['temporary']);
});

/** Resident memory of a proxy at rest, MiB; 90 to 103 where it was built, 140 without the settings of the launcher. */
const idleLimitMib = 125;

function bootstrap(port: number): string {
  const address = { socket_address: { address: '127.0.0.1', port_value: port } };
  const tcpProxy = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
    stat_prefix: 'a',
    cluster: 'a',
  };
  const listener = {
    name: 'a',
    address,
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.tcp_proxy', typed_config: tcpProxy }] }],
  };
  const clusters = [{ name: 'a', type: 'STATIC', connect_timeout: '1s' }];
  return JSON.stringify({ static_resources: { listeners: [listener], clusters } });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves when the port answers; rejects when the process ends or after 30 seconds. */
async function untilOpen(port: number, child: ChildProcess): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (child.exitCode !== null) throw new Error(`it ended with code ${child.exitCode}`);
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise((resolve) => {
      socket.on('connect', () => resolve(true));
      socket.on('error', () => resolve(false));
    });
    socket.destroy();
    if (open === true) return;
    await sleep(50);
  }
  throw new Error('it does not listen');
}

for (const entry of [launcher, `${launcher}.ts`]) {
  const name = `a proxy started by ${entry.slice(entry.lastIndexOf('/bin/') + 1)} keeps its id and is lean`;
  test(name, { skip: process.platform === 'linux' ? false : 'reads /proc' }, async (t) => {
    const home = temporaryDirectory(t);
    const port = await freePort();
    writeFileSync(join(home, 'bootstrap.json'), bootstrap(port));
    const args = [entry, 'proxy', '-c', join(home, 'bootstrap.json'), '--concurrency', '1'];
    // The first start compiles, the second one finds what it left.
    for (const start of ['first', 'second']) {
      const env = { PATH: process.env['PATH'] ?? '', HOME: home };
      const child = spawn(process.execPath, args, { env, stdio: 'ignore' });
      try {
        await untilOpen(port, child);
        const commandLine = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8').split('\0');
        assert.ok(commandLine.includes('--max-semi-space-size=2'), commandLine.join(' '));
        assert.ok(commandLine.includes(launcher));
        await sleep(1000);
        const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
        const mib = Number(kilobytes) / 1024;
        if (start === 'second') assert.ok(mib < idleLimitMib, `${mib.toFixed(0)} MiB at rest`);
        const exited = once(child, 'exit');
        child.kill('SIGTERM');
        await exited;
      } finally {
        child.kill('SIGKILL');
      }
    }
  });
}
