/** The control plane through its ports: TLS, tokens, certificates, xDS, debug pages, rotation of its own certificate. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { Backoff } from '#base/backoff.ts';
import type { Resource } from '#config/resource.ts';
import { createMemoryStore } from '#config/store/memory.ts';
import { jwtAuthenticator } from '#security/authn/jwt_authenticator.ts';
import { TokenIssuer } from '#security/authn/token_issuer.ts';
import { createCertificate } from '#security/ca_client.ts';
import { createCsr } from '#security/pki/csr.ts';
import { certificateUris } from '#security/pki/extensions.ts';
import { makeKeyPair, privateKeyPem } from '#security/pki/keys.ts';
import { AdsClient } from '#xds/client/ads_client.ts';
import { GrpcClient, type GrpcClientOptions } from '#xds/grpc_client.ts';
import { grpcStatus } from '#xds/grpc_status.ts';
import { grpcTransport } from '#xds/grpc_transport.ts';
import { typeUrls } from '#xds/type_url.ts';
import { type Discovery, type DiscoveryOptions, startDiscovery } from './discovery.ts';
import type { SyncStatus } from './syncz.ts';

const serverName = 'istiod.istio-system.svc';

function service(name: string, clusterIP: string): Resource {
  const ports = [{ name: 'http', port: 9080, targetPort: 9080, protocol: 'TCP' }];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace: 'default',
      labels: {},
      annotations: {},
      creationTimestamp: 0,
      resourceVersion: clusterIP,
    },
    body: { spec: { clusterIP, clusterIPs: [clusterIP], selector: { app: name }, ports } },
  };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`timed out: ${what}`);
    await sleep(10);
  }
}

async function start(t: TestContext, options: Partial<DiscoveryOptions> = {}) {
  const issuer = await TokenIssuer.open();
  const store = createMemoryStore({ resources: [service('reviews', '10.96.0.1')] });
  const local = { address: '127.0.0.1', port: 0 };
  const discovery = await startDiscovery({
    store,
    secure: { ...local, extraNames: ['127.0.0.1'] },
    plaintext: local,
    http: local,
    monitoring: local,
    debounce: { afterMs: 20 },
    version: '1.2.3',
    authenticators: [
      jwtAuthenticator({
        issuers: [issuer.issuer],
        keys: { kind: 'key', publicKey: issuer.publicKey },
        trustDomain: 'cluster.local',
      }),
    ],
    ...options,
  });
  t.after(() => discovery.close());
  return { issuer, store, discovery };
}

function connect(t: TestContext, options: GrpcClientOptions): GrpcClient {
  const client = new GrpcClient(options);
  t.after(() => client.close());
  return client;
}

/** A proxy `NAME.default` that takes everything. */
function proxy(t: TestContext, name: string, client: GrpcClient) {
  const updates: { typeUrl: string; names: string[] }[] = [];
  const errors: number[] = [];
  const ads = new AdsClient({
    transport: grpcTransport(client),
    protocol: 'delta',
    node: () =>
      create(NodeSchema, {
        id: `sidecar~10.0.0.9~${name}.default~default.svc.cluster.local`,
        metadata: {
          NAMESPACE: 'default',
          SERVICE_ACCOUNT: 'web',
          CLUSTER_ID: 'Kubernetes',
          ISTIO_VERSION: '9.9',
        },
      }),
    backoff: new Backoff({ baseMs: 20, maxMs: 20 }),
    onState: (state) => {
      if (state.kind === 'waiting' && state.error !== undefined) errors.push(state.error.code);
    },
    onUpdate: async (typeUrl, { changed }) =>
      void updates.push({ typeUrl, names: changed.map((resource) => resource.name) }),
  });
  ads.subscribe(typeUrls.cds, '*');
  ads.subscribe(typeUrls.lds, '*');
  ads.start();
  t.after(() => ads.close());
  return { updates, errors, ads };
}

async function get(port: number, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, text: await response.text() };
}

test('a token gets a certificate, the certificate gets configuration', async (t) => {
  const { issuer, discovery } = await start(t);
  const token = await issuer.issue({ namespace: 'default', serviceAccount: 'web', podName: 'web-1' });
  const address = { host: '127.0.0.1', port: discovery.ports.secure };
  const ca = discovery.rootCertificatePem;
  const byToken = connect(t, {
    address,
    tls: () => ({ ca, serverName }),
    metadata: () => ({ authorization: `Bearer ${token}` }),
  });
  const keys = await makeKeyPair();
  const csr = createCsr(keys, ['spiffe://cluster.local/ns/default/sa/web']);
  const chain = await createCertificate((...args) => byToken.unary(...args), csr, 0);
  const leaf = new X509Certificate(chain[0]!);
  assert.deepEqual(certificateUris(leaf), ['spiffe://cluster.local/ns/default/sa/web']);

  // By address this time: the certificate names it.
  const byCertificate = connect(t, {
    address,
    tls: () => ({ ca, cert: chain.join(''), key: privateKeyPem(keys.privateKey) }),
  });
  const { updates } = proxy(t, 'web-1', byCertificate);
  await until(() => updates.length === 2, 'clusters and listeners');
  assert.ok(updates[0]!.names.includes('outbound|9080||reviews.default.svc.cluster.local'));
  assert.equal([...discovery.server.connections][0]!.caller?.source, 'mtls');
  await until(() => discovery.proxyStatus('web-1.default')?.summary === 'SYNCED', 'SYNCED');
  assert.deepEqual(discovery.progress(), { generation: 1, live: 1, rejected: 0, total: 1 });
});

test('no credentials, and those of another namespace, are refused over TLS', async (t) => {
  const { issuer, discovery } = await start(t);
  const address = { host: '127.0.0.1', port: discovery.ports.secure };
  const tls = () => ({ ca: discovery.rootCertificatePem, serverName });
  const nobody = proxy(t, 'web-1', connect(t, { address, tls }));
  await until(() => nobody.errors.length > 0, 'refusal');
  assert.equal(nobody.errors[0], grpcStatus.unauthenticated);
  const token = await issuer.issue({ namespace: 'other', serviceAccount: 'web', podName: 'web-1' });
  const metadata = () => ({ authorization: `Bearer ${token}` });
  const stranger = proxy(t, 'web-1', connect(t, { address, tls, metadata }));
  await until(() => stranger.errors.length > 0, 'refusal');
  assert.equal(stranger.errors[0], grpcStatus.permissionDenied);
  assert.deepEqual([nobody.updates, stranger.updates], [[], []]);
});

test('debug pages and metrics show proxies and configuration', async (t) => {
  const { discovery, store } = await start(t);
  const { ports } = discovery;
  const { updates } = proxy(
    t,
    'web-1',
    connect(t, { address: { host: '127.0.0.1', port: ports.plaintext } }),
  );
  await until(() => updates.length === 2, 'first state');
  store.put(service('ratings', '10.96.0.2'));
  await until(() => discovery.progress().generation === 2 && discovery.progress().live === 1, 'live');

  const statuses = JSON.parse((await get(ports.http, '/debug/syncz')).text) as SyncStatus[];
  assert.deepEqual(
    statuses.map(({ proxy, cluster_id, istio_version, states }) => [
      proxy,
      cluster_id,
      istio_version,
      states['CDS'],
    ]),
    [['web-1.default', 'Kubernetes', '9.9', 'SYNCED']],
  );
  assert.ok(statuses[0]!.cluster_sent !== '' && statuses[0]!.cluster_sent === statuses[0]!.cluster_acked);

  const dump = JSON.parse((await get(ports.http, '/debug/config_dump?proxyID=web-1.default')).text) as {
    configs: { '@type': string; dynamicActiveClusters?: { cluster: { name: string } }[] }[];
  };
  const clusters = dump.configs[0]!.dynamicActiveClusters!.map(({ cluster }) => cluster.name);
  assert.ok(clusters.includes('outbound|9080||ratings.default.svc.cluster.local'));

  for (const [path, pattern] of [
    ['/debug/registryz', /ratings\.default\.svc\.cluster\.local/],
    ['/debug/endpointz', /"svc": "reviews/],
    ['/debug/configz', /"kind": "Service"/],
    ['/debug/connections', /"totalClients": 1/],
    ['/debug/adsz', /"type\.googleapis\.com\/envoy\.config\.cluster\.v3\.Cluster": "\*"/],
    ['/debug/push_status', /"pushes": 1/],
    ['/debug/ndsz?proxyID=web-1.default', /reviews\.default/],
    ['/debug/edsz?proxyID=web-1.default', /\[\]/],
    ['/debug/mesh', /\{/],
    ['/debug', /\/debug\/syncz/],
    ['/version', /1\.2\.3/],
    ['/ready', /^$/],
  ] as const) {
    const { status, text } = await get(ports.http, path);
    assert.equal(status, 200, `${path}: ${text}`);
    assert.match(text, pattern, path);
  }
  assert.equal((await get(ports.http, '/debug/config_dump?proxyID=ghost')).status, 404);
  assert.equal((await get(ports.http, '/nowhere')).status, 404);

  const { text } = await get(ports.monitoring, '/metrics');
  assert.match(text, /pilot_xds\{version="1\.2\.3"\} 1/);
  assert.match(text, /pilot_services 2/);
  assert.match(text, /pilot_xds_pushes\{type="lds"\} /);
  assert.match(text, /citadel_server_/);

  const [before] = [...discovery.server.connections].map(({ id }) => id);
  await get(ports.http, '/debug/force_disconnect?proxyID=web-1.default');
  const ids = () => [...discovery.server.connections].map(({ id }) => id);
  await until(() => ids().length === 1 && ids()[0] !== before, 'reconnection');
});

test('the authority outlives a restart, and proxies come back', async (t) => {
  const caDirectory = mkdtempSync(join(tmpdir(), 'discovery-'));
  t.after(() => rmSync(caDirectory, { recursive: true }));
  const first = await start(t, { caDirectory });
  const root = first.discovery.rootCertificatePem;
  const port = first.discovery.ports.plaintext;
  const { updates } = proxy(t, 'web-1', connect(t, { address: { host: '127.0.0.1', port } }));
  await until(() => updates.length === 2, 'first state');
  await first.discovery.close();
  // While it was free, somebody else may have been given the port for a moment.
  let second = await start(t, { caDirectory, plaintext: { address: '127.0.0.1', port } }).catch(
    () => undefined,
  );
  for (let i = 0; second === undefined && i < 50; i++) {
    await sleep(100);
    second = await start(t, { caDirectory, plaintext: { address: '127.0.0.1', port } }).catch(
      () => undefined,
    );
  }
  assert.ok(second, 'the port came back');
  assert.equal(second.discovery.rootCertificatePem, root);
  await until(() => second.discovery.proxyStatus('web-1.default')?.summary === 'SYNCED', 'SYNCED again');
  assert.equal(updates.length, 2, 'what did not change is not applied again');
});

test('a port that is taken fails the start and leaves nothing open', async (t) => {
  const { discovery } = await start(t);
  const store = createMemoryStore();
  const taken: Promise<Discovery> = startDiscovery({
    store,
    plaintext: { port: 0 },
    http: { port: discovery.ports.http },
  });
  await assert.rejects(taken, /EADDRINUSE/);
});
