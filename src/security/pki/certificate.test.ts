import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { clockSkewMs, issueIntermediate, issueLeaf, issueRoot } from './certificate.ts';
import { createCsr, CsrError, parseCsr } from './csr.ts';
import { certificateUris } from './extensions.ts';
import { makeKeyPair, privateKeyPem, publicKeyProblem, type KeyAlgorithm } from './keys.ts';
import { readPemBlocks, splitCertificates, writePem } from './pem.ts';
import { chainProblem } from './verify_chain.ts';

const uri = 'spiffe://cluster.local/ns/default/sa/reviews';
const hourMs = 3_600_000;
const directory = mkdtempSync(join(tmpdir(), 'pki-'));
after(() => rmSync(directory, { recursive: true }));

function openssl(...args: string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

function validity(hours: number) {
  const now = Date.now();
  return { notBeforeMs: now - clockSkewMs, notAfterMs: now + hours * hourMs };
}

async function makeRoot(algorithm: KeyAlgorithm = 'ecdsa-p256', organization = 'cluster.local') {
  const keys = await makeKeyPair(algorithm);
  const pem = issueRoot(keys, organization, validity(10 * 365 * 24));
  return { keys, pem, certificate: new X509Certificate(pem), privateKey: keys.privateKey };
}

for (const algorithm of ['ecdsa-p256', 'ecdsa-p384', 'rsa-2048'] as const) {
  test(`${algorithm}: openssl verifies the request, the chain and the fields`, async () => {
    const root = await makeRoot(algorithm);
    const middleKeys = await makeKeyPair(algorithm);
    const subject = { organization: 'cluster.local', commonName: 'intermediate' };
    const middle = issueIntermediate(root, middleKeys.publicKey, subject, validity(1000));
    const keys = await makeKeyPair(algorithm);
    const csr = createCsr(keys, [uri]);

    const csrText = openssl('req', '-in', file('a.csr', csr), '-noout', '-text', '-verify');
    assert.match(csrText, new RegExp(`URI:${uri}`));
    const request = parseCsr(csr);
    assert.deepEqual(request.uris, [uri]);

    const issuer = { certificate: new X509Certificate(middle), privateKey: middleKeys.privateKey };
    const leaf = issueLeaf(issuer, request.publicKey, { uris: request.uris }, validity(24));
    const args = ['-CAfile', file('root.pem', root.pem), '-untrusted', file('middle.pem', middle)];
    for (const purpose of ['sslserver', 'sslclient']) {
      openssl('verify', '-x509_strict', '-purpose', purpose, ...args, file('leaf.pem', leaf));
    }
    const text = openssl('x509', '-in', file('leaf.pem', leaf), '-noout', '-text');
    assert.match(text, /Version: 3/);
    assert.match(
      text,
      /Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/default\/sa\/reviews/,
    );
    assert.match(text, /Key Usage: critical\s+Digital Signature, Key Encipherment\n/);
    assert.match(text, /TLS Web Server Authentication, TLS Web Client Authentication/);
    assert.match(text, /Basic Constraints: critical\s+CA:FALSE/);
    assert.match(
      openssl('x509', '-in', file('root.pem', root.pem), '-noout', '-text'),
      /Certificate Sign, CRL Sign/,
    );

    const certificate = new X509Certificate(leaf);
    assert.ok(certificate.checkPrivateKey(keys.privateKey));
    assert.deepEqual(certificateUris(certificate), [uri]);
    assert.equal(
      chainProblem({
        leaf: certificate,
        intermediates: [issuer.certificate],
        roots: [root.certificate],
        nowMs: Date.now(),
      }),
      undefined,
    );
  });
}

test('a request made by openssl is read', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = file('rsa.key', privateKeyPem(privateKey));
  const names = `subjectAltName=DNS:a.b,URI:${uri}`;
  const usage = 'keyUsage=critical,digitalSignature';
  const csr = openssl('req', '-new', '-key', key, '-subj', '/O=x/CN=y', '-addext', names, '-addext', usage);
  assert.deepEqual(parseCsr(csr).uris, [uri]);
  assert.deepEqual(parseCsr(openssl('req', '-new', '-key', key, '-subj', '/CN=plain')).uris, []);
});

test('requests that are refused', async () => {
  const keys = await makeKeyPair();
  const good = createCsr(keys, [uri]);
  const bytes = readPemBlocks(good, 'CERTIFICATE REQUEST')[0]!;
  const forged = Buffer.from(bytes);
  forged.set(Buffer.from('ADMINS!'), forged.indexOf('reviews'));
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const edwards = file('ed.key', privateKeyPem(generateKeyPairSync('ed25519').privateKey));
  for (const [name, pem, reason] of [
    ['changed after signing', writePem('CERTIFICATE REQUEST', forged), /not by the key/],
    ['no PEM', 'hello', /not one PEM block/],
    ['two blocks', good + good, /not one PEM block/],
    [
      'bytes behind it',
      writePem('CERTIFICATE REQUEST', Buffer.concat([bytes, Buffer.from([0])])),
      /malformed/,
    ],
    ['cut off', writePem('CERTIFICATE REQUEST', bytes.subarray(0, -3)), /malformed/],
    ['weak RSA key', createCsr(weak, [uri]), /RSA key of 1024 bits/],
    ['Ed25519', openssl('req', '-new', '-key', edwards, '-subj', '/CN=a'), /key type ed25519/],
    ['a certificate', (await makeRoot()).pem, /not one PEM block/],
  ] as const) {
    assert.throws(
      () => parseCsr(pem),
      (error) => error instanceof CsrError && reason.test(error.message),
      name,
    );
  }
});

test('no changed byte of a request passes or throws anything but CsrError', async () => {
  const bytes = readPemBlocks(createCsr(await makeKeyPair(), [uri]), 'CERTIFICATE REQUEST')[0]!;
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const changed = Buffer.from(bytes);
      changed[at]! ^= mask;
      assert.throws(() => parseCsr(writePem('CERTIFICATE REQUEST', changed)), CsrError);
    }),
    { numRuns: 400 },
  );
});

test('chains that are refused', async () => {
  const root = await makeRoot();
  const other = await makeRoot();
  const keys = await makeKeyPair();
  const leafOf = (issuer: typeof root, hours: number) =>
    new X509Certificate(issueLeaf(issuer, keys.publicKey, { uris: [uri] }, validity(hours)));
  const leafAsIssuer = { certificate: leafOf(root, 24), privateKey: keys.privateKey };
  const nowMs = Date.now();
  const base = { intermediates: [], roots: [root.certificate], nowMs };
  for (const [name, input, reason] of [
    ['another root of the same name', { ...base, leaf: leafOf(other, 24) }, /no path/],
    ['ended', { ...base, leaf: leafOf(root, 24), nowMs: nowMs + 25 * hourMs }, /not now/],
    ['not begun', { ...base, leaf: leafOf(root, 24), nowMs: nowMs - hourMs }, /not now/],
    ['an authority as leaf', { ...base, leaf: root.certificate }, /authority, not a workload/],
    [
      'a leaf as issuer',
      {
        ...base,
        intermediates: [leafAsIssuer.certificate],
        leaf: new X509Certificate(issueLeaf(leafAsIssuer, keys.publicKey, { uris: [uri] }, validity(1))),
      },
      /no path/,
    ],
    ['no roots', { ...base, roots: [], leaf: leafOf(root, 24) }, /no path/],
  ] as const) {
    assert.match(chainProblem(input) ?? 'accepted', reason, name);
  }
});

test('servers are named by DNS names and addresses', async () => {
  const root = await makeRoot();
  const dnsNames = ['istiod.istio-system.svc', '127.0.0.1', '::1'];
  const keys = await makeKeyPair();
  const leaf = new X509Certificate(issueLeaf(root, keys.publicKey, { uris: [], dnsNames }, validity(1)));
  assert.equal(leaf.checkHost('istiod.istio-system.svc'), 'istiod.istio-system.svc');
  assert.equal(leaf.checkIP('127.0.0.1'), '127.0.0.1');
  assert.equal(leaf.checkIP('::1'), '::1');
  assert.equal(leaf.checkIP('127.0.0.2'), undefined);
});

test('PEM bundles split and odd text is skipped', async () => {
  const [a, b] = [(await makeRoot()).pem, (await makeRoot()).pem];
  assert.deepEqual(splitCertificates(`# comment\n${a}\n\n${b}trailer`), [a, b]);
  assert.deepEqual(splitCertificates('-----BEGIN CERTIFICATE-----\nAAAA'), []);
});

test('keys that are not accepted are named', () => {
  const curve = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey;
  assert.match(publicKeyProblem(curve) ?? '', /curve secp256k1/);
});
