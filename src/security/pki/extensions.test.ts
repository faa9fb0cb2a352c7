import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { CertificateAuthority } from '../ca/certificate_authority.ts';

test('IP addresses among the names of a server are iPAddress names', async () => {
  const authority = await CertificateAuthority.open({ trustDomain: 'cluster.local' });
  const addresses = ['127.0.0.1', '::1', '::', 'fd00:1::2:3', '2001:db8::1:0:0:1', '::ffff:10.0.0.1'];
  const { certChain } = await authority.issueServing({ uris: [], dnsNames: ['istiod.svc', ...addresses] });
  const certificate = new X509Certificate(certChain);
  for (const address of addresses) assert.ok(certificate.checkIP(address), address);
  assert.equal(certificate.checkIP('127.0.0.2'), undefined);
  assert.equal(certificate.checkIP('fd00:1::2:4'), undefined);
  assert.ok(certificate.checkHost('istiod.svc'));
  assert.equal(certificate.subjectAltName?.split(', ').length, addresses.length + 1);
});
