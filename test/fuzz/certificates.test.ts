/** What is read of certificates, requests and keys: DER, PEM, names. Changed ones are refused with the error that is promised. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, test } from 'node:test';
import { issueLeaf, issueRoot } from '#security/pki/certificate.ts';
import { createCsr, CsrError, parseCsr } from '#security/pki/csr.ts';
import {
  DerError,
  DerReader,
  objectIdentifier,
  readObjectIdentifier,
  sequence,
  tag,
  unsignedInteger,
} from '#security/pki/der.ts';
import { certificateUris, readGeneralNameUris } from '#security/pki/extensions.ts';
import { type KeyPair, makeKeyPair } from '#security/pki/keys.ts';
import { readPemBlocks, splitCertificates, writePem } from '#security/pki/pem.ts';
import { readCertificates } from '#security/pki/verify_chain.ts';
import { readAltNames } from '#proxy/transport_sockets/tls/subject.ts';
import { mutate, randomFrom } from './mutate.ts';

const uri = 'spiffe://cluster.local/ns/a/sa/b';
let keys: KeyPair;
let leaf: string;

before(async () => {
  keys = await makeKeyPair();
  const validity = { notBeforeMs: Date.now() - 1000, notAfterMs: Date.now() + 3_600_000 };
  const certificate = new X509Certificate(issueRoot(keys, 'mesh', validity));
  const names = { uris: [uri], dnsNames: ['a.example', '192.0.2.1'] };
  leaf = issueLeaf({ certificate, privateKey: keys.privateKey }, keys.publicKey, names, validity);
});

/** Every element below, as deep as elements go. */
function walk(bytes: Uint8Array, depth = 0): number {
  const reader = new DerReader(bytes);
  let count = 0;
  while (!reader.done) {
    const { tag: found, content, raw } = reader.read();
    assert.ok(raw.length > content.length);
    count++;
    if (found === tag.oid)
      assert.deepEqual(
        new DerReader(objectIdentifier(readObjectIdentifier(content))).read().content.length > 0,
        true,
      );
    if ((found & 0x20) !== 0 && depth < 30) count += walk(content, depth + 1);
  }
  return count;
}

/** Calls; gives undefined for an error of the class, fails for any other. */
function orUndefined<T>(run: () => T, expected: new (...args: never[]) => Error): T | undefined {
  try {
    return run();
  } catch (error) {
    assert.ok(error instanceof expected, String(error));
    return undefined;
  }
}

test('DER: changed certificates are walked to their end or refused', () => {
  const random = randomFrom(690);
  const der = new X509Certificate(leaf).raw;
  assert.ok(walk(der) > 20);
  for (let cut = 0; cut < der.length; cut++)
    assert.throws(() => walk(der.subarray(0, cut === 0 ? 1 : cut)), DerError);
  let read = 0;
  for (let i = 0; i < 20_000; i++)
    if (orUndefined(() => walk(mutate(random, der)), DerError) !== undefined) read++;
  assert.ok(read > 500 && read < 20_000, String(read));
});

test('DER: numbers and names that are written are read back', () => {
  const random = randomFrom(2);
  for (let i = 0; i < 2000; i++) {
    const arcs = [
      Math.floor(random() * 3),
      Math.floor(random() * 40),
      ...Array.from({ length: 4 }, () => Math.floor(random() * 2 ** 28)),
    ];
    const oid = objectIdentifier(arcs.join('.'));
    assert.equal(readObjectIdentifier(new DerReader(oid).read(tag.oid).content), arcs.join('.'));
    const bytes = Buffer.from(
      Array.from({ length: 1 + Math.floor(random() * 300) }, () => Math.floor(random() * 256)),
    );
    const inner = new DerReader(sequence(unsignedInteger(bytes)))
      .enter(tag.sequence)
      .read(tag.integer).content;
    assert.equal(BigInt(`0x0${inner.toString('hex')}`), BigInt(`0x0${bytes.toString('hex')}`));
  }
});

test('certificate requests: a changed one never passes as another', () => {
  const random = randomFrom(2986);
  const pem = createCsr(keys, [uri]);
  assert.deepEqual(parseCsr(pem).uris, [uri]);
  const [der = Buffer.alloc(0)] = readPemBlocks(pem, 'CERTIFICATE REQUEST');
  for (let i = 0; i < 4000; i++) {
    const changed = mutate(random, der);
    const request = orUndefined(() => parseCsr(writePem('CERTIFICATE REQUEST', changed)), CsrError);
    // The signature covers what is asked for.
    if (request !== undefined) assert.deepEqual(request.uris, [uri]);
    const text = mutate(random, Buffer.from(pem)).toString('latin1');
    const other = orUndefined(() => parseCsr(text), CsrError);
    if (other !== undefined) assert.deepEqual(other.uris, [uri]);
  }
});

test('PEM: blocks are found or not, and written as they were', () => {
  const random = randomFrom(7468);
  const bundle = `# roots\n${leaf}\n${leaf}`;
  assert.equal(splitCertificates(bundle).length, 2);
  for (let i = 0; i < 5000; i++) {
    const text = mutate(random, Buffer.from(bundle)).toString('latin1');
    for (const block of readPemBlocks(text, 'CERTIFICATE'))
      assert.deepEqual(readPemBlocks(writePem('CERTIFICATE', block), 'CERTIFICATE'), [block]);
    try {
      for (const certificate of readCertificates(text)) assert.ok(certificate.raw.length > 0);
    } catch (error) {
      assert.ok(error instanceof Error && !(error instanceof RangeError), String(error));
    }
  }
  // Headers without an end cost no more than their length.
  const start = performance.now();
  assert.deepEqual(readPemBlocks('-----BEGIN CERTIFICATE-----\nAAAA'.repeat(30_000), 'CERTIFICATE'), []);
  assert.ok(performance.now() - start < 3000);
});

test('names of changed certificates', () => {
  const random = randomFrom(5280);
  const der = new X509Certificate(leaf).raw;
  let parsed = 0;
  for (let i = 0; i < 5000; i++) {
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(mutate(random, der));
    } catch {
      continue;
    }
    parsed++;
    const { uris, dns, ips } = readAltNames(certificate);
    assert.ok([...uris, ...dns, ...ips].every((name) => typeof name === 'string'));
    orUndefined(() => certificateUris(certificate), DerError);
  }
  assert.ok(parsed > 100, String(parsed));
  const names = Buffer.from(
    '861e7370696666653a2f2f636c75737465722e6c6f63616c2f6e732f612f73612f62'.slice(0, 64),
    'hex',
  );
  for (let i = 0; i < 5000; i++)
    orUndefined(() => readGeneralNameUris(sequence(mutate(random, names))), DerError);
});
