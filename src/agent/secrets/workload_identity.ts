/** A workload's identity as it came from the authority or from files, checked before it is used. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { certificateUris } from '#security/pki/extensions.ts';
import { readCertificates } from '#security/pki/verify_chain.ts';
import { writePem } from '#security/pki/pem.ts';

/** Key, chain and roots, PEM, with what the leaf says. */
export interface WorkloadIdentity {
  readonly certChain: string;
  readonly privateKey: string;
  readonly roots: string;
  /** URIs of the leaf. */
  readonly uris: readonly string[];
  readonly serialNumber: string;
  /** When the leaf was obtained and when it ends, milliseconds since the epoch. */
  readonly obtainedMs: number;
  readonly notAfterMs: number;
}

function pem(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => writePem('CERTIFICATE', certificate.raw)).join('');
}

function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.ca && certificate.checkIssued(certificate);
}

/**
 * Splits the answer of an authority: self-issued certificates at its end are roots; without any, the last one is
 * taken as the root, as Istio's agent does.
 */
export function splitChain(chain: readonly string[]): { readonly certChain: string; readonly roots: string } {
  const certificates = readCertificates(chain.join('\n'));
  let end = certificates.length;
  while (end > 1 && isSelfIssued(certificates[end - 1] as X509Certificate)) end--;
  if (end === certificates.length && end > 1) end--;
  return { certChain: pem(certificates.slice(0, end)), roots: pem(certificates.slice(end)) };
}

/**
 * Checks that key and leaf belong together and that the leaf is valid.
 * @throws Error
 */
export function checkIdentity(
  parts: { readonly certChain: string; readonly privateKey: string; readonly roots: string },
  nowMs: number,
): WorkloadIdentity {
  const [leaf] = readCertificates(parts.certChain);
  if (leaf === undefined) throw new Error('the certificate chain is empty');
  if (!leaf.checkPrivateKey(createPrivateKey(parts.privateKey))) {
    throw new Error('the certificate is not for the private key');
  }
  const notAfterMs = leaf.validToDate.getTime();
  if (notAfterMs <= nowMs) throw new Error(`the certificate ended on ${leaf.validTo}`);
  if (readCertificates(parts.roots).length === 0) throw new Error('there are no roots');
  return {
    ...parts,
    uris: certificateUris(leaf),
    serialNumber: leaf.serialNumber,
    obtainedMs: nowMs,
    notAfterMs,
  };
}
