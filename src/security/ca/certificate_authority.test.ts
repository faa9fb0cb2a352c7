import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { issueIntermediate, issueRoot } from '../pki/certificate.ts';
import { makeKeyPair, privateKeyPem } from '../pki/keys.ts';
import { writeCaDirectory } from './ca_directory.ts';
import { CertificateAuthority, SigningError } from './certificate_authority.ts';

const dayMs = 86_400_000;
const base = mkdtempSync(join(tmpdir(), 'ca-'));
after(() => rmSync(base, { recursive: true }));
const names = { uris: ['spiffe://cluster.local/ns/a/sa/b'] };
const trustDomain = 'cluster.local';

test('a self-signed root is kept across restarts, its key is for the owner only', async () => {
  const directory = join(base, 'kept');
  const first = await CertificateAuthority.open({ trustDomain, directory });
  const second = await CertificateAuthority.open({ trustDomain, directory });
  assert.equal(first.rootPem, second.rootPem);
  assert.deepEqual(readdirSync(directory).sort(), [
    'ca-cert.pem',
    'ca-key.pem',
    'cert-chain.pem',
    'root-cert.pem',
  ]);
  assert.equal(statSync(join(directory, 'ca-key.pem')).mode & 0o777, 0o600);
  const [leaf, root, ...rest] = first.sign((await makeKeyPair()).publicKey, names);
  assert.equal(root, second.rootPem);
  assert.equal(rest.length, 0);
  assert.equal(second.peerProblem(new X509Certificate(leaf!), []), undefined);
  const years = (new X509Certificate(root!).validToDate.getTime() - Date.now()) / (365 * dayMs);
  assert.ok(years > 9.9 && years < 10.1);
});

test('life of a leaf: 24 h by default, at most 90 d, never beyond the authority', async () => {
  let now = Date.now();
  const authority = await CertificateAuthority.open({ trustDomain, rootTtlMs: 100 * dayMs, now: () => now });
  const { publicKey } = await makeKeyPair();
  const life = (ttlMs: number) => {
    const { validFromDate, validToDate } = new X509Certificate(authority.sign(publicKey, names, ttlMs)[0]!);
    return [(validFromDate.getTime() - now) / 1000, (validToDate.getTime() - now) / 1000].map(Math.ceil);
  };
  assert.deepEqual(life(0), [-120, 86_400]);
  assert.deepEqual(life(60_000), [-120, 60]);
  assert.throws(
    () => life(91 * dayMs),
    (error) => error instanceof SigningError && error.reason === 'ttl',
  );
  now += 99.5 * dayMs;
  assert.deepEqual(life(0), [-120, 43_200]);
  now += dayMs;
  assert.throws(
    () => life(0),
    (error) => error instanceof SigningError && error.reason === 'ca',
  );
});

test('a plugged-in intermediate signs and its chain comes along', async () => {
  const directory = join(base, 'plugged');
  const now = Date.now();
  const validity = { notBeforeMs: now - 1000, notAfterMs: now + 365 * dayMs };
  const rootKeys = await makeKeyPair();
  const rootPem = issueRoot(rootKeys, 'company', validity);
  const keys = await makeKeyPair();
  const issuer = { certificate: new X509Certificate(rootPem), privateKey: rootKeys.privateKey };
  const subject = { organization: 'company', commonName: 'mesh' };
  const certificate = issueIntermediate(issuer, keys.publicKey, subject, validity);
  const files = { certificate, privateKey: privateKeyPem(keys.privateKey), root: rootPem };
  await writeCaDirectory(directory, { ...files, chain: certificate + rootPem });
  const authority = await CertificateAuthority.open({ trustDomain, directory });
  const chain = authority.sign(keys.publicKey, names);
  assert.deepEqual(chain.slice(1), [certificate, rootPem]);
  assert.equal(authority.peerProblem(new X509Certificate(chain[0]!), []), undefined);
  const serving = await authority.issueServing({ uris: [], dnsNames: ['istiod.istio-system.svc'] });
  assert.equal(serving.certChain.match(/BEGIN/g)?.length, 2);

  writeFileSync(join(directory, 'ca-key.pem'), privateKeyPem(rootKeys.privateKey));
  await assert.rejects(authority.refresh(), /not the key of ca-cert\.pem/);
  assert.deepEqual(authority.sign(keys.publicKey, names).slice(1), [certificate, rootPem]);
  rmSync(join(directory, 'ca-cert.pem'));
  await assert.rejects(
    CertificateAuthority.open({ trustDomain, directory }),
    /ca-key\.pem without ca-cert\.pem/,
  );
});

test('files that changed are taken over and listeners hear it', async () => {
  const directory = join(base, 'reloaded');
  const authority = await CertificateAuthority.open({ trustDomain, directory });
  const other = join(base, 'other');
  const replacement = await CertificateAuthority.open({ trustDomain, directory: other });
  const read = (name: string) => readFileSync(join(other, name), 'utf8');
  await writeCaDirectory(directory, {
    certificate: read('ca-cert.pem'),
    privateKey: read('ca-key.pem'),
    root: read('root-cert.pem'),
    chain: read('cert-chain.pem'),
  });
  let heard = 0;
  authority.subscribe(() => heard++);
  assert.equal(await authority.refresh(), 'reloaded');
  assert.equal(await authority.refresh(), 'unchanged');
  assert.equal(heard, 1);
  assert.equal(authority.rootPem, replacement.rootPem);
});

test('a self-signed root near its end is renewed with its key, so old leaves stay good', async () => {
  const directory = join(base, 'renewed');
  let now = Date.now();
  const options = { trustDomain, directory, rootTtlMs: 100 * dayMs, now: () => now };
  const authority = await CertificateAuthority.open(options);
  const before = authority.rootPem;
  now += 79 * dayMs;
  assert.equal(await authority.refresh(), 'unchanged');
  now += 2 * dayMs;
  const leaf = new X509Certificate(authority.sign((await makeKeyPair()).publicKey, names)[0]!);
  assert.equal(await authority.refresh(), 'renewed');
  assert.notEqual(authority.rootPem, before);
  assert.equal(authority.peerProblem(leaf, []), undefined);
  assert.equal((await CertificateAuthority.open(options)).rootPem, authority.rootPem);
});

test('a directory whose writing was cut off is made again', async () => {
  const directory = join(base, 'cut');
  await CertificateAuthority.open({ trustDomain, directory });
  const pem = readFileSync(join(directory, 'ca-cert.pem'));
  rmSync(join(directory, 'ca-cert.pem'));
  writeFileSync(join(directory, 'ca-cert.pem.new'), pem);
  await CertificateAuthority.open({ trustDomain, directory });
  assert.ok(readdirSync(directory).includes('ca-cert.pem'));
});
