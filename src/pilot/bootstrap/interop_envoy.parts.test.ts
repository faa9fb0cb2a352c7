/**
 * Real Envoy on the whole control plane, in the shape of a sidecar of bookinfo: everything that the translation makes must
 * be accepted, and a change must reach it within a second. A single NACK fails the test.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { findEnvoy } from '#base/find_envoy.ts';
import { SecretSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import { type MemoryStore, createMemoryStore } from '#config/store/memory.ts';
import { openFileStore } from '#config/store/file.ts';
import { kinds } from '#config/kinds/kinds.ts';
import { envoyBootstrap, grpcCluster, missingEnvoy, startEnvoy, stat, until } from '#xds/envoy_for_tests.ts';
import { registerSds } from '#xds/server/discovery_services.ts';
import { encodeResource } from '#xds/server/encoded_resource.ts';
import { GrpcServer } from '#xds/server/grpc_server.ts';
import { XdsServer } from '#xds/server/server.ts';
import { SnapshotSource } from '#xds/server/snapshot_source.ts';
import type { XdsProtocol } from '#xds/transport.ts';
import { typeUrls } from '#xds/type_url.ts';
import { type Discovery, startDiscovery } from './discovery.ts';

const envoy = findEnvoy(process.env);
const missing = envoy === undefined ? missingEnvoy : false;
if (missing !== false && process.env['CI'] === 'true') throw new Error(missing);

const samples = join(import.meta.dirname, '../../../samples/bookinfo');

/** Objects of sample files in a store that the test may change. */
async function readSamples(...files: readonly string[]): Promise<MemoryStore> {
  const store = createMemoryStore();
  const problems: string[] = [];
  for (const file of files) {
    const paths = [join(samples, file)];
    const one = await openFileStore({ paths, watch: false, ignore: () => false });
    problems.push(...one.problems().errors.map(({ message }) => `${file}: ${message}`));
    store.put(...kinds.flatMap(({ kind }) => one.list(kind)));
    await one.close();
  }
  assert.deepEqual(problems, []);
  return store;
}

/** The secrets of a sidecar on a Unix socket, as its agent serves them. */
async function serveSecrets(t: TestContext, discovery: Discovery): Promise<string> {
  const identity = await discovery.authority.issueServing({
    uris: ['spiffe://cluster.local/ns/default/sa/bookinfo-productpage'],
  });
  const text = (value: string) => ({ specifier: { case: 'inlineString', value } }) as const;
  const own = create(SecretSchema, {
    name: 'default',
    type: {
      case: 'tlsCertificate',
      value: { certificateChain: text(identity.certChain), privateKey: text(identity.privateKey) },
    },
  });
  const roots = create(SecretSchema, {
    name: 'ROOTCA',
    type: { case: 'validationContext', value: { trustedCa: text(discovery.rootCertificatePem) } },
  });
  const source = new SnapshotSource();
  source.set(
    typeUrls.sds,
    [own, roots].map((secret) => encodeResource(SecretSchema, secret.name, secret)),
  );
  const server = new GrpcServer({ routes: (router) => registerSds(router, new XdsServer({ source })) });
  const folder = mkdtempSync(join(tmpdir(), 'sds-'));
  const path = join(folder, 'socket');
  await server.listen({ path });
  t.after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  return path;
}

for (const protocol of ['sotw', 'delta'] satisfies XdsProtocol[]) {
  test(`Envoy as a sidecar of bookinfo over ${protocol}`, { skip: missing, timeout: 60_000 }, async (t) => {
    const store = await readSamples('bookinfo.yaml', 'gateway.yaml', 'networking/destination-rule-all.yaml');
    const local = { address: '127.0.0.1', port: 0 };
    const discovery = await startDiscovery({ store, plaintext: local });
    t.after(() => discovery.close());
    const node = {
      id: 'sidecar~10.0.0.9~productpage-v1-x.default~default.svc.cluster.local',
      cluster: 'productpage.default',
      metadata: {
        NAMESPACE: 'default',
        SERVICE_ACCOUNT: 'bookinfo-productpage',
        LABELS: { app: 'productpage', version: 'v1' },
      },
    };
    const secrets = grpcCluster('sds-grpc', { pipe: { path: await serveSecrets(t, discovery) } });
    const config = envoyBootstrap(node, protocol, discovery.ports.plaintext, [secrets]);
    const admin = await startEnvoy(t, envoy ?? '', config);

    const status = () => discovery.proxyStatus('productpage-v1-x.default');
    const synced = () => status()?.summary === 'SYNCED' && discovery.progress().live === 1;
    await until(synced, () => JSON.stringify(status(), undefined, 1));
    assert.equal(await stat(admin, 'cluster_manager.warming_clusters'), 0);
    const routes = status()!.types.find(({ type }) => type === 'RDS');
    assert.equal(routes?.state, 'SYNCED', 'the sidecar has asked for its routes');

    // A rule of the samples, as a person saves it.
    const started = Date.now();
    const rules = await readSamples('networking/virtual-service-all-v1.yaml');
    store.put(...rules.list('VirtualService'));
    const live = () => {
      const { generation, live } = discovery.progress();
      return generation === 2 && live === 1;
    };
    await until(live, () => JSON.stringify(status(), undefined, 1));
    assert.ok(Date.now() - started < 1000, `live after ${Date.now() - started} ms`);

    const dump = await (await fetch(`${admin}/config_dump?resource=dynamic_route_configs`)).text();
    assert.match(dump, /outbound\|9080\|v1\|reviews\.default\.svc\.cluster\.local/);
    for (const type of ['cds', 'lds']) {
      const scope = type === 'cds' ? 'cluster_manager.cds' : 'listener_manager.lds';
      assert.equal(await stat(admin, `${scope}.update_rejected`), 0, type);
    }
  });
}
