import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { SecretSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import { create } from '@bufbuild/protobuf';
import { Backoff } from '#base/backoff.ts';
import { silentLogger } from '#base/log.ts';
import { jwtAuthenticator } from '#security/authn/jwt_authenticator.ts';
import { clientCertificateAuthenticator } from '#security/authn/client_certificate_authenticator.ts';
import { connectionContextValues } from '#security/authn/connect_request.ts';
import { TokenIssuer } from '#security/authn/token_issuer.ts';
import { registerCaService } from '#security/ca/ca_service.ts';
import { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { AdsClient } from '#xds/client/ads_client.ts';
import { memoryTransport } from '#xds/memory_transport.ts';
import { GrpcServer } from '#xds/server/grpc_server.ts';
import { typeUrls } from '#xds/type_url.ts';
import { connectControlPlane, parseAddress } from '../control_plane.ts';
import { FileSecrets, parseFileSecret } from './file_secrets.ts';
import { authorityProvider, filesProvider, type IdentityProvider } from './identity_provider.ts';
import { SdsServer } from './sds_server.ts';
import { renewalDelay, SecretManager } from './secret_manager.ts';
import { splitChain, type WorkloadIdentity } from './workload_identity.ts';

const directory = mkdtempSync(join(tmpdir(), 'secrets-'));
after(() => rmSync(directory, { recursive: true }));
const identity = 'spiffe://cluster.local/ns/default/sa/reviews';
const serverName = 'istiod.istio-system.svc';
const cleanups: (() => unknown)[] = [];
let authority: CertificateAuthority;
let provider: IdentityProvider;
let tokenPath: string;
let manager: SecretManager | undefined;

beforeEach(async () => {
  authority = await CertificateAuthority.open({ trustDomain: 'cluster.local' });
  const issuer = await TokenIssuer.open();
  const authenticators = [
    jwtAuthenticator({
      issuers: [issuer.issuer],
      keys: { kind: 'key', publicKey: issuer.publicKey },
      trustDomain: 'cluster.local',
    }),
    clientCertificateAuthenticator(authority),
  ];
  const { certChain, privateKey } = await authority.issueServing({ uris: [], dnsNames: [serverName] });
  const server = new GrpcServer({
    routes: (router) =>
      registerCaService(router, {
        authority,
        authenticators,
        metrics: new MetricsRegistry(),
        log: silentLogger,
      }),
    contextValues: connectionContextValues,
    tls: { cert: certChain, key: privateKey, clientCa: authority.rootPem },
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0 });
  const rootCertPath = join(directory, 'root.pem');
  tokenPath = join(directory, 'token');
  writeFileSync(rootCertPath, authority.rootPem);
  writeFileSync(
    tokenPath,
    await issuer.issue({ namespace: 'default', serviceAccount: 'reviews', podName: 'reviews-1' }),
  );
  const client = connectControlPlane({
    address: `127.0.0.1:${port}`,
    tls: { rootCertPath, serverName },
    tokenPath,
    identity: () => manager?.identity,
  });
  provider = authorityProvider({
    call: (...call) => client.unary(...call),
    identity,
    ttlMs: 3_600_000,
    clusterId: 'Kubernetes',
  });
  cleanups.push(
    () => client.close(),
    () => server.close(),
  );
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  manager = undefined;
});

function manage(
  from: IdentityProvider,
  options: Partial<ConstructorParameters<typeof SecretManager>[0]> = {},
) {
  const backoff = new Backoff({ baseMs: 5, maxMs: 20 });
  const made = new SecretManager({ provider: from, log: silentLogger, backoff, ...options });
  manager = made;
  cleanups.unshift(() => made.close());
  made.start();
  return made;
}

test('an identity comes from the authority by token and is renewed by its own certificate', async () => {
  const made = manage(provider, { gracePeriodRatio: 1, gracePeriodJitter: 0 });
  await made.whenReady(5000);
  assert.deepEqual(made.identity?.uris, [identity]);
  const first = made.identity.serialNumber;
  rmSync(tokenPath);
  const changes: (readonly string[])[] = [];
  made.subscribe((names) => changes.push(names));
  for (let i = 0; i < 100 && changes.length === 0; i++) await sleep(50);
  assert.deepEqual(changes[0], ['default']);
  assert.notEqual(made.identity.serialNumber, first);
});

test('renewal is due at half of the life, spread by the jitter', () => {
  const hour = 3_600_000;
  const issued = { obtainedMs: 0, notAfterMs: 24 * hour };
  assert.equal(renewalDelay(issued, 0, { random: () => 0.5 }), 12 * hour);
  assert.equal(renewalDelay(issued, 0, { random: () => 0 }) / hour, 24 * 0.51);
  assert.equal(renewalDelay(issued, 0, { random: () => 1 }) / hour, 24 * 0.49);
  assert.equal(renewalDelay(issued, 13 * hour, { random: () => 0.5 }), 0);
  assert.equal(renewalDelay(issued, 0, { random: () => 0.5, gracePeriodRatio: 0.25 }), 18 * hour);
});

test('failures are tried again, and the old identity stays in use while renewals fail', async () => {
  let calls = 0;
  const count = () => calls;
  const flaky: IdentityProvider = {
    name: 'flaky',
    async obtain() {
      calls++;
      if (calls !== 3) throw new Error(`attempt ${calls}`);
      return provider.obtain();
    },
  };
  const made = manage(flaky, { gracePeriodRatio: 1, gracePeriodJitter: 0 });
  await assert.rejects(made.whenReady(1), /no identity after 1 ms/);
  await made.whenReady(5000);
  const { serialNumber } = made.identity!;
  for (let i = 0; i < 100 && count() < 6; i++) await sleep(20);
  assert.ok(calls >= 6 && made.failures >= 5);
  assert.equal(made.identity?.serialNumber, serialNumber);
  assert.equal(made.get('default')?.kind, 'key_cert');
});

test('files are an identity and their change is seen', async () => {
  const write = (from: WorkloadIdentity) => {
    writeFileSync(join(directory, 'cert-chain.pem'), from.certChain);
    writeFileSync(join(directory, 'key.pem'), from.privateKey);
    writeFileSync(join(directory, 'root-cert.pem'), from.roots);
  };
  write(await provider.obtain());
  const made = manage({ ...filesProvider(directory), pollMs: 20 });
  await made.whenReady(1000);
  const { serialNumber } = made.identity!;
  write(await provider.obtain());
  for (let i = 0; i < 100 && made.identity?.serialNumber === serialNumber; i++) await sleep(20);
  assert.notEqual(made.identity?.serialNumber, serialNumber);
  const [cert] = authority.sign(new X509Certificate(made.identity!.certChain).publicKey, { uris: [] }, 1000);
  writeFileSync(join(directory, 'key.pem'), (await provider.obtain()).privateKey);
  await assert.rejects(filesProvider(directory).obtain(), /not for the private key/);
  writeFileSync(join(directory, 'cert-chain.pem'), cert!);
  await assert.rejects(filesProvider(directory, () => Date.now() + 5000).obtain(), Error);
});

for (const protocol of ['sotw', 'delta'] as const) {
  test(`SDS gives default, ROOTCA and files, and pushes renewals (${protocol})`, async () => {
    const made = manage(provider, { gracePeriodRatio: 0.5 });
    const files = new FileSecrets(silentLogger, 20);
    const rootFile = join(directory, `roots-${protocol}.pem`);
    const server = new SdsServer([made, files], silentLogger);
    const seen = new Map<string, string[]>();
    const client = new AdsClient({
      transport: memoryTransport(server.acceptor),
      protocol,
      node: () => create(NodeSchema, { id: 'proxy' }),
      async onUpdate(_type, update) {
        for (const { name, bytes } of update.changed) {
          const { type } = fromBinary(SecretSchema, bytes);
          const source =
            type.case === 'validationContext'
              ? type.value.trustedCa
              : type.case === 'tlsCertificate'
                ? type.value.certificateChain
                : undefined;
          const text = Buffer.from(source!.specifier.value as Uint8Array).toString();
          seen.set(name, [...(seen.get(name) ?? []), text]);
        }
        return undefined;
      },
    });
    cleanups.unshift(
      () => client.close(),
      () => server.close(),
      () => files.close(),
    );
    client.subscribe(typeUrls.sds, ['default', 'ROOTCA', `file-root:${rootFile}`]);
    client.start();
    const until = async (name: string, count: number) => {
      for (let i = 0; i < 200 && (seen.get(name)?.length ?? 0) < count; i++) await sleep(20);
      assert.equal(seen.get(name)?.length, count, name);
    };
    await until('ROOTCA', 1);
    await until('default', 1);
    assert.equal(seen.get('ROOTCA')![0], authority.rootPem);
    assert.equal(seen.get('default')![0], made.identity!.certChain);
    writeFileSync(rootFile, 'first');
    await until(`file-root:${rootFile}`, 1);
    writeFileSync(rootFile, 'second!');
    await until(`file-root:${rootFile}`, 2);
    assert.deepEqual(seen.get(`file-root:${rootFile}`), ['first', 'second!']);
    assert.equal(seen.get('default')!.length, 1);
  });
}

test('names of secrets in files', () => {
  assert.deepEqual(parseFileSecret('file-cert:/a/c.pem~/a/k.pem')?.paths, ['/a/c.pem', '/a/k.pem']);
  assert.deepEqual(parseFileSecret('file-root:/a/r.pem')?.paths, ['/a/r.pem']);
  for (const name of ['default', 'file-cert:/a', 'file-cert:/a~/b~/c', 'file-root:a', 'file-cert:a~/b']) {
    assert.equal(parseFileSecret(name), undefined, name);
  }
});

test('the chain of an answer splits into leaf, intermediates and roots', async () => {
  const answer = await provider.obtain();
  const { certChain, roots } = splitChain([answer.certChain, answer.roots]);
  assert.deepEqual([certChain, roots], [answer.certChain, answer.roots]);
});

test('addresses of the control plane', () => {
  assert.deepEqual(parseAddress('istiod.istio-system.svc:15012'), {
    host: 'istiod.istio-system.svc',
    port: 15012,
  });
  assert.deepEqual(parseAddress('[::1]:80'), { host: '::1', port: 80 });
  for (const text of ['a', 'a:', ':1', 'a:70000', 'http://a:1', '::1:80']) {
    assert.throws(() => parseAddress(text), /is not host:port/);
  }
});
