import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { test } from 'node:test';
import { silentLogger } from '#base/log.ts';
import { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import type { GrpcServerTls } from '#xds/server/grpc_server.ts';
import { ServingCertificate } from './serving_certificate.ts';

test('a certificate is renewed at half its life', async (t) => {
  const authority = await CertificateAuthority.open({ trustDomain: 'cluster.local' });
  let renewed: (tls: GrpcServerTls) => void = () => {};
  const first = new Promise<GrpcServerTls>((resolve) => (renewed = resolve));
  const started = Date.now();
  const { tls, renewal } = await ServingCertificate.issue({
    authority,
    names: ['istiod.istio-system.svc'],
    ttlMs: 2000,
    log: silentLogger,
    onRenew: renewed,
  });
  t.after(() => renewal.close());
  // The timer does not keep a process alive on its own.
  const alive = setTimeout(() => {}, 5000);
  const next = await first;
  clearTimeout(alive);
  assert.ok(Date.now() - started >= 1000);
  assert.notEqual(next.cert, tls.cert);
  const certificate = new X509Certificate(next.cert);
  assert.ok(certificate.checkHost('istiod.istio-system.svc'));
  assert.ok(certificate.checkPrivateKey(createPrivateKey(next.key)));
});
