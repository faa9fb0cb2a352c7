/** Hosts that come (slow start), go (drain) and fail (close or finish) while requests run. */
import assert from 'node:assert/strict';
import { type Server, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type Run, conformance } from '../harness/conformance.ts';
import { DnsServer } from '../harness/dns_server.ts';

let dns: DnsServer | undefined;
let servers: Server[] = [];
/** Requests that wait for `answer`. */
let waiting: ServerResponse[] = [];
let healthy = true;

function listen(host: string, port: number): Promise<number> {
  const server = createServer((request, response) => {
    if (request.url === '/health') response.writeHead(healthy ? 200 : 500).end();
    else if (request.url === '/wait') waiting.push(response);
    else response.end(host);
  });
  server.keepAliveTimeout = 60_000;
  servers.push(server);
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 250; i++) {
    if (await condition()) return;
    await later(20);
  }
  assert.fail(`timed out: ${what}`);
}

async function flags(run: Run, cluster: string): Promise<string> {
  return (await run.admin('/clusters')).body
    .split('\n')
    .filter((line) => line.startsWith(`${cluster}::`) && line.includes('::health_flags::'))
    .map((line) => line.slice(line.lastIndexOf('::') + 2))
    .join(' ');
}

function entry(name: string, ...addresses: string[]): void {
  dns?.entries.set(`${name}.example`, { addresses });
}

function get(run: Run, cluster: string, path = '/') {
  return run.get(path, { headers: { cluster } });
}

function answerAll(): void {
  for (const response of waiting) response.end('late');
  waiting = [];
}

/** Share of the second host in the requests of half a second. */
async function shareOfSecond(run: Run): Promise<number> {
  let second = 0;
  let all = 0;
  for (const end = performance.now() + 500; performance.now() < end; all++)
    if ((await get(run, 'slow_start')).body === '127.0.0.2') second++;
  return second / all;
}

conformance(import.meta.filename, {
  rows: ['5.35', '5.36', '5.45'],
  backends: [],
  setUp: async () => {
    dns = await DnsServer.start();
    servers = [];
    healthy = true;
    const app = await listen('127.0.0.1', 0);
    await listen('127.0.0.2', app);
    for (const name of ['slow', 'leaving', 'lingering']) entry(name, '127.0.0.1');
    return { dns: String(dns.port), app: String(app) };
  },
  tearDown: async () => {
    answerAll();
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
    await dns?.stop();
  },
  cases: {
    'a host that goes finishes its requests, then its connections close': async (run) => {
      const answer = get(run, 'leaving', '/wait');
      await until(() => waiting.length === 1, 'the request is there');
      entry('leaving', '127.0.0.2');
      await until(async () => (await get(run, 'leaving')).body === '127.0.0.2', 'the new host');
      assert.equal(await run.stat('cluster.leaving.membership_total'), 1);
      answerAll();
      assert.equal((await answer).body, 'late');
      await until(
        async () => (await run.stat('cluster.leaving.upstream_cx_active')) === 1,
        'the connection to the old host closes',
      );
    },
    'a host that goes stays while its health checks pass': async (run) => {
      await until(async () => (await flags(run, 'lingering')) === 'healthy', 'checked');
      entry('lingering', '127.0.0.2');
      await until(
        async () =>
          (await flags(run, 'lingering')) === '/pending_dynamic_removal healthy' ||
          (await flags(run, 'lingering')) === 'healthy /pending_dynamic_removal',
        'both are there',
      );
      await until(async () => (await flags(run, 'removed_at_once')) === 'healthy', 'the other has one');
      assert.equal((await get(run, 'removed_at_once')).body, '127.0.0.2');
      assert.equal(await run.stat('cluster.lingering.membership_total'), 2);
    },
    'a host that fails loses its TCP connections where that is asked for, HTTP requests finish': async (
      run,
    ) => {
      await until(async () => (await flags(run, 'closes')) === 'healthy', 'checked');
      const socket = connect(run.port('tcp'), '127.0.0.1');
      let closed = false;
      socket.on('close', () => (closed = true)).on('error', () => {});
      socket.write('GET /wait HTTP/1.1\r\nhost: x\r\n\r\n');
      const finished = get(run, 'closes', '/wait');
      await until(() => waiting.length === 2, 'the requests are there');
      healthy = false;
      await until(() => closed, 'the TCP connection is closed');
      await until(async () => (await flags(run, 'closes')) === '/failed_active_hc', 'failed');
      await until(
        async () => (await run.stat('cluster.lingering.membership_total')) === 1,
        'the one that lingered goes',
      );
      answerAll();
      assert.equal((await finished).body, 'late');
      healthy = true;
      await until(async () => (await flags(run, 'closes')) === 'healthy', 'well again');
      assert.equal((await get(run, 'closes')).status, 200);
    },
    'a new host gets its share step by step': async (run) => {
      entry('slow', '127.0.0.1', '127.0.0.2');
      await until(
        async () => (await run.stat('cluster.slow_start.membership_total')) === 2,
        'the host is there',
      );
      const first = await shareOfSecond(run);
      assert.ok(first < 0.3, `a small share at first: ${first}`);
      await later(3000);
      const last = await shareOfSecond(run);
      assert.ok(Math.abs(last - 0.5) < 0.05, `its whole share at last: ${last}`);
    },
  },
});
