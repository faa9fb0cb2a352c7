/** Issues X.509 version 3 certificates (RFC 5280): self-signed roots, intermediates and workload leaves. */
import { randomBytes, type KeyObject, X509Certificate } from 'node:crypto';
import {
  bitString,
  contextTag,
  encode,
  objectIdentifier,
  sequence,
  tag,
  time,
  unsignedInteger,
} from './der.ts';
import {
  authorityKeyIdentifier,
  basicConstraints,
  certificateKeyIdentifier,
  certificateSubjectDer,
  extKeyUsage,
  keyUsage,
  subjectAltName,
  subjectKeyIdentifier,
} from './extensions.ts';
import { publicKeyDer, signatureAlgorithmDer, signDer, type KeyPair } from './keys.ts';
import { oid } from './oids.ts';
import { writePem } from './pem.ts';

/** Certificates start this long before now, so that clocks that run behind accept them. Milliseconds. */
export const clockSkewMs = 2 * 60 * 1000;

/** An authority's certificate with its private key. */
export interface Issuer {
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
}

/** Time in which a certificate is valid, milliseconds since the epoch. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

interface Contents {
  readonly issuerName: Buffer;
  readonly subjectName: Buffer;
  readonly validity: Validity;
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly extensions: readonly Buffer[];
}

function name(attributes: Readonly<Record<string, string>>): Buffer {
  const sets = Object.entries(attributes).map(([type, value]) =>
    encode(tag.set, sequence(objectIdentifier(type), encode(tag.utf8String, Buffer.from(value, 'utf8')))),
  );
  return sequence(...sets);
}

function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return unsignedInteger(bytes);
}

function signCertificate(contents: Contents): string {
  const algorithm = signatureAlgorithmDer(contents.signingKey);
  const body = sequence(
    encode(contextTag(0, true), unsignedInteger(Buffer.from([2]))),
    serialNumber(),
    algorithm,
    contents.issuerName,
    sequence(time(contents.validity.notBeforeMs), time(contents.validity.notAfterMs)),
    contents.subjectName,
    publicKeyDer(contents.publicKey),
    encode(contextTag(3, true), sequence(...contents.extensions)),
  );
  return writePem('CERTIFICATE', sequence(body, algorithm, bitString(signDer(contents.signingKey, body))));
}

/** Makes a self-signed root with the organisation as its subject. Returns PEM. */
export function issueRoot(keys: KeyPair, organization: string, validity: Validity): string {
  const subject = name({ [oid.organizationName]: organization });
  return signCertificate({
    issuerName: subject,
    subjectName: subject,
    validity,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    extensions: [basicConstraints(true), keyUsage(true), subjectKeyIdentifier(keys.publicKey)],
  });
}

/** Makes an intermediate authority below an issuer. Returns PEM. */
export function issueIntermediate(
  issuer: Issuer,
  publicKey: KeyObject,
  subject: { readonly organization: string; readonly commonName: string },
  validity: Validity,
): string {
  return signCertificate({
    issuerName: certificateSubjectDer(issuer.certificate),
    subjectName: name({ [oid.organizationName]: subject.organization, [oid.commonName]: subject.commonName }),
    validity,
    publicKey,
    signingKey: issuer.privateKey,
    extensions: [
      basicConstraints(true),
      keyUsage(true),
      authorityKeyIdentifier(certificateKeyIdentifier(issuer.certificate)),
      subjectKeyIdentifier(publicKey),
    ],
  });
}

/** Names of a leaf. */
export interface LeafNames {
  readonly uris: readonly string[];
  /** DNS names and IP addresses of a server. */
  readonly dnsNames?: readonly string[];
}

/** Makes a leaf for TLS servers and clients with an empty subject and critical alternative names. Returns PEM. */
export function issueLeaf(
  issuer: Issuer,
  publicKey: KeyObject,
  names: LeafNames,
  validity: Validity,
): string {
  return signCertificate({
    issuerName: certificateSubjectDer(issuer.certificate),
    subjectName: sequence(),
    validity,
    publicKey,
    signingKey: issuer.privateKey,
    extensions: [
      basicConstraints(false),
      keyUsage(false),
      extKeyUsage(),
      authorityKeyIdentifier(certificateKeyIdentifier(issuer.certificate)),
      subjectKeyIdentifier(publicKey),
      subjectAltName(names.uris, true, names.dnsNames),
    ],
  });
}
