import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, createSecureServer, type Http2SecureServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { silentLogger } from '#base/log.ts';
import { GrpcClient, type GrpcClientOptions, type GrpcMetadata, type GrpcTls } from '#xds/grpc_client.ts';
import { GrpcError } from '#xds/grpc_status.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { toPrometheusText } from '#telemetry/prometheus_text.ts';
import { clientCertificateAuthenticator } from '../authn/client_certificate_authenticator.ts';
import { connectionContextValues } from '../authn/connect_request.ts';
import { jwtAuthenticator } from '../authn/jwt_authenticator.ts';
import { loopbackAuthenticator } from '../authn/loopback_authenticator.ts';
import { TokenIssuer } from '../authn/token_issuer.ts';
import { developmentIdentityHeader } from '../authn/development_header.ts';
import { createCertificate } from '../ca_client.ts';
import { createCsr } from '../pki/csr.ts';
import { certificateUris } from '../pki/extensions.ts';
import { makeKeyPair, privateKeyPem } from '../pki/keys.ts';
import { registerCaService } from './ca_service.ts';
import { CertificateAuthority } from './certificate_authority.ts';

const trustDomain = 'cluster.local';
const serverName = 'istiod.istio-system.svc';
const wished = 'spiffe://cluster.local/ns/kube-system/sa/admin';
const directory = mkdtempSync(join(tmpdir(), 'ca-service-'));
const metrics = new MetricsRegistry();
let authority: CertificateAuthority;
let issuer: TokenIssuer;
let secure: Http2SecureServer;
let plain: Http2Server;

before(async () => {
  authority = await CertificateAuthority.open({ trustDomain });
  issuer = await TokenIssuer.open({ keyFile: join(directory, 'sa.key') });
  const authenticators = [
    jwtAuthenticator({
      issuers: [issuer.issuer],
      keys: { kind: 'jwks', keys: await issuer.jwks() },
      trustDomain,
    }),
    clientCertificateAuthenticator(authority),
    loopbackAuthenticator(trustDomain),
  ];
  const handler = connectNodeAdapter({
    routes: (router) => registerCaService(router, { authority, authenticators, metrics, log: silentLogger }),
    contextValues: connectionContextValues,
  });
  const { certChain, privateKey } = await authority.issueServing({ uris: [], dnsNames: [serverName] });
  secure = createSecureServer(
    { cert: certChain, key: privateKey, ca: authority.rootPem, requestCert: true, rejectUnauthorized: false },
    handler,
  );
  plain = createServer(handler);
  for (const server of [secure, plain]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
});

after(() => {
  secure.close();
  plain.close();
  authority.close();
  rmSync(directory, { recursive: true });
});

interface Credentials {
  readonly metadata?: GrpcMetadata;
  readonly identity?: { readonly cert: string; readonly key: string };
}

function token(text: string): Credentials {
  return { metadata: { authorization: `Bearer ${text}` } };
}

function development(identity: string): Credentials {
  return { metadata: { [developmentIdentityHeader]: identity } };
}

function tls({ metadata = {}, identity }: Credentials, ca = authority.rootPem): GrpcClientOptions {
  const { port } = secure.address() as AddressInfo;
  const tls: GrpcTls = { ca, serverName, ...identity };
  return { address: { host: '127.0.0.1', port }, tls: () => tls, metadata: () => metadata };
}

function plaintext({ metadata = {} }: Credentials): GrpcClientOptions {
  const { port } = plain.address() as AddressInfo;
  return { address: { host: '127.0.0.1', port }, metadata: () => metadata };
}

async function send(options: GrpcClientOptions, csr: string, ttlMs = 0): Promise<string[]> {
  const client = new GrpcClient(options);
  try {
    return await createCertificate((...call) => client.unary(...call), csr, ttlMs);
  } finally {
    client.close();
  }
}

const subject = { namespace: 'default', serviceAccount: 'reviews', podName: 'reviews-1' };

async function ask(options: GrpcClientOptions, ttlMs = 0): Promise<string[]> {
  return send(options, createCsr(await makeKeyPair(), [wished]), ttlMs);
}

test('a token gives a certificate of the caller, not of the wish in the CSR', async () => {
  const [leaf, root] = await ask(tls(token(await issuer.issue(subject))), 3_600_000);
  const certificate = new X509Certificate(leaf!);
  assert.deepEqual(certificateUris(certificate), ['spiffe://cluster.local/ns/default/sa/reviews']);
  assert.ok(certificate.validToDate.getTime() - Date.now() <= 3_600_000);
  assert.equal(root, authority.rootPem);
});

test('a certificate of the mesh renews itself', async () => {
  const keys = await makeKeyPair();
  const csr = createCsr(keys, []);
  const chain = await send(tls(token(await issuer.issue(subject))), csr);
  const identity = { cert: chain[0]!, key: privateKeyPem(keys.privateKey) };
  const [leaf] = await ask(tls({ identity }));
  assert.deepEqual(certificateUris(new X509Certificate(leaf!)), [
    'spiffe://cluster.local/ns/default/sa/reviews',
  ]);
});

test('the development authenticator works in plaintext on loopback and not over TLS', async () => {
  const identity = 'spiffe://cluster.local/ns/a/sa/b';
  const [leaf] = await ask(plaintext(development(identity)));
  assert.deepEqual(certificateUris(new X509Certificate(leaf!)), [identity]);
  await assert.rejects(ask(tls(development(identity))), { code: 16 });
});

test('callers that are refused', async () => {
  const stranger = await TokenIssuer.open();
  const otherAudience = await TokenIssuer.open({ keyFile: join(directory, 'sa.key'), audience: 'vault' });
  const otherIssuer = await TokenIssuer.open({ keyFile: join(directory, 'sa.key'), issuer: 'https://else' });
  const old = await TokenIssuer.open({
    keyFile: join(directory, 'sa.key'),
    now: () => Date.now() - 24 * 3_600_000,
  });
  const otherCa = await CertificateAuthority.open({ trustDomain });
  const keys = await makeKeyPair();
  const identity = (from: CertificateAuthority, uris: string[]): Credentials => ({
    identity: {
      cert: from.sign(keys.publicKey, { uris })[0]!,
      key: privateKeyPem(keys.privateKey),
    },
  });
  const good = await issuer.issue(subject);
  const [head, , signature] = good.split('.');
  const claims = { iss: issuer.issuer, aud: 'istio-ca', sub: 'system:serviceaccount:a:b', exp: 9e9 };
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`;
  const swapped = `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`;
  for (const [name, options, code] of [
    ['empty token', tls(token('')), 16],
    ['no token', tls(token('garbage')), 16],
    ['unsigned token', tls(token(unsigned)), 16],
    ['claims swapped', tls(token(swapped)), 16],
    ['key of a stranger', tls(token(await stranger.issue(subject))), 16],
    ['other audience', tls(token(await otherAudience.issue(subject))), 16],
    ['other issuer', tls(token(await otherIssuer.issue(subject))), 16],
    ['ended token', tls(token(await old.issue(subject))), 16],
    ['namespace with a slash', tls(token(await issuer.issue({ ...subject, namespace: 'a/sa/x' }))), 16],
    ['certificate of another authority', tls(identity(otherCa, [wished])), 16],
    ['certificate without identity', tls(identity(authority, ['https://a'])), 16],
    ['certificate of two identities', tls(identity(authority, [wished, `${wished}2`])), 16],
    ['another trust domain', tls(identity(authority, ['spiffe://evil/ns/a/sa/b'])), 7],
    ['development identity of another trust domain', plaintext(development('spiffe://evil/ns/a/sa/b')), 16],
  ] as const) {
    await assert.rejects(ask(options), (error) => error instanceof GrpcError && error.code === code, name);
  }
});

test('requests that are refused', async () => {
  const options = tls(token(await issuer.issue(subject)));
  await assert.rejects(send(options, 'no csr'), { code: 3, message: /not one PEM block/ });
  await assert.rejects(ask(options, 91 * 86_400_000), { code: 3, message: /above the limit/ });
  await assert.rejects(ask(options, 1e15), { code: 3 });
});

test('a server of another root is not trusted, an absent one is unavailable', async () => {
  const credentials = token(await issuer.issue(subject));
  const { rootPem } = await CertificateAuthority.open({ trustDomain });
  await assert.rejects(ask(tls(credentials, rootPem)), { code: 14 });
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  await assert.rejects(ask({ address: { host: '127.0.0.1', port } }), { code: 14 });
});

test('metrics count what happened', () => {
  const page = toPrometheusText(metrics.snapshot());
  assert.match(page, /citadel_server_success_cert_issuance_count 4\n/);
  assert.match(page, /citadel_server_authentication_failure_count 14\n/);
  assert.match(page, /citadel_server_csr_sign_err_count\{error="ttl"\} 2\n/);
  assert.match(page, /citadel_server_csr_parsing_err_count 1\n/);
  assert.match(page, /citadel_server_id_extraction_err_count 1\n/);
  assert.match(page, /citadel_server_root_cert_expiry_timestamp \d{10}\n/);
});
