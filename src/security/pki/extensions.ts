/** X.509 version 3 extensions (RFC 5280, section 4.2) that a mesh certificate carries. */
import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import {
  bitString,
  boolean,
  contextTag,
  DerReader,
  encode,
  objectIdentifier,
  octetString,
  readBitString,
  readObjectIdentifier,
  sequence,
  tag,
} from './der.ts';
import { ipBytes } from './ip_bytes.ts';
import { oid } from './oids.ts';
import { publicKeyDer } from './keys.ts';

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(objectIdentifier(id), ...(critical ? [boolean(true)] : []), octetString(value));
}

/** GeneralName choices: uniformResourceIdentifier, dNSName and iPAddress (RFC 5280, section 4.2.1.6). */
const uriTag = contextTag(6, false);
const dnsTag = contextTag(2, false);
const ipTag = contextTag(7, false);

function hostName(name: string): Buffer {
  const address = ipBytes(name);
  return address === undefined ? encode(dnsTag, Buffer.from(name, 'latin1')) : encode(ipTag, address);
}

/** subjectAltName of URIs and names of hosts (DNS names, IP addresses); critical when the subject is empty. */
export function subjectAltName(
  uris: readonly string[],
  critical: boolean,
  dnsNames: readonly string[] = [],
): Buffer {
  const names = [...uris.map((uri) => encode(uriTag, Buffer.from(uri, 'latin1'))), ...dnsNames.map(hostName)];
  return extension(oid.subjectAltName, critical, sequence(...names));
}

/** basicConstraints, critical; an authority may be limited in the number of authorities below it. */
export function basicConstraints(isCa: boolean): Buffer {
  return extension(oid.basicConstraints, true, isCa ? sequence(boolean(true)) : sequence());
}

/** keyUsage of an authority: keyCertSign and cRLSign; of a leaf: digitalSignature and keyEncipherment. */
export function keyUsage(isCa: boolean): Buffer {
  const bits = isCa ? bitString(Buffer.from([0b0000_0110]), 1) : bitString(Buffer.from([0b1010_0000]), 5);
  return extension(oid.keyUsage, true, bits);
}

/** extKeyUsage of a workload: server and client. */
export function extKeyUsage(): Buffer {
  return extension(
    oid.extKeyUsage,
    false,
    sequence(objectIdentifier(oid.serverAuth), objectIdentifier(oid.clientAuth)),
  );
}

/** SHA-1 of the public key's bits (RFC 5280, section 4.2.1.2, method 1). */
export function keyIdentifier(key: KeyObject): Buffer {
  const info = new DerReader(publicKeyDer(key)).enter(tag.sequence);
  info.read(tag.sequence);
  return createHash('sha1')
    .update(readBitString(info.read(tag.bitString).content))
    .digest();
}

/** subjectKeyIdentifier of a key. */
export function subjectKeyIdentifier(key: KeyObject): Buffer {
  return extension(oid.subjectKeyIdentifier, false, octetString(keyIdentifier(key)));
}

/** authorityKeyIdentifier with the issuer's identifier. */
export function authorityKeyIdentifier(identifier: Buffer): Buffer {
  return extension(oid.authorityKeyIdentifier, false, sequence(encode(contextTag(0, false), identifier)));
}

/** URIs among the GeneralNames of a subjectAltName value. */
export function readGeneralNameUris(value: Uint8Array): string[] {
  const outer = new DerReader(value);
  const names = outer.enter(tag.sequence);
  outer.end();
  const uris: string[] = [];
  while (!names.done) {
    const name = names.read();
    if (name.tag === uriTag) uris.push(name.content.toString('latin1'));
  }
  return uris;
}

/** Values of the extensions of a certificate, by object identifier. */
function readExtensions(certificate: X509Certificate): Map<string, Buffer> {
  const fields = new DerReader(certificate.raw).enter(tag.sequence).enter(tag.sequence);
  const found = new Map<string, Buffer>();
  while (!fields.done) {
    const field = fields.read();
    if (field.tag !== contextTag(3, true)) continue;
    const extensions = new DerReader(field.content).enter(tag.sequence);
    while (!extensions.done) {
      const entry = extensions.enter(tag.sequence);
      const id = readObjectIdentifier(entry.read(tag.oid).content);
      if (entry.nextTag === tag.boolean) entry.read();
      found.set(id, entry.read(tag.octetString).content);
    }
  }
  return found;
}

/** URI subject alternative names of a certificate, read from its bytes (not from printed text). */
export function certificateUris(certificate: X509Certificate): string[] {
  const value = readExtensions(certificate).get(oid.subjectAltName);
  return value === undefined ? [] : readGeneralNameUris(value);
}

/** subjectKeyIdentifier that a certificate carries, or the one computed from its key. */
export function certificateKeyIdentifier(certificate: X509Certificate): Buffer {
  const value = readExtensions(certificate).get(oid.subjectKeyIdentifier);
  return value === undefined
    ? keyIdentifier(certificate.publicKey)
    : Buffer.from(new DerReader(value).read(tag.octetString).content);
}

/** Name of the subject as DER: what an issued certificate must repeat as its issuer, byte for byte. */
export function certificateSubjectDer(certificate: X509Certificate): Buffer {
  const fields = new DerReader(certificate.raw).enter(tag.sequence).enter(tag.sequence);
  if (fields.nextTag === contextTag(0, true)) fields.read();
  fields.read(tag.integer);
  fields.read(tag.sequence);
  fields.read(tag.sequence);
  fields.read(tag.sequence);
  return fields.read(tag.sequence).raw;
}
