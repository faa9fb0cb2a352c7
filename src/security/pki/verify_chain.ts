/** Path validation of a workload's certificate against the mesh's roots (RFC 5280, section 6, without policies). */
import { X509Certificate } from 'node:crypto';
import { readPemBlocks } from './pem.ts';

/** Longest path from a leaf to its root, both counted. */
export const maxChainLength = 6;

/** What a peer sent and what we trust. */
export interface ChainInput {
  readonly leaf: X509Certificate;
  /** Certificates that may stand between leaf and root, in any order. */
  readonly intermediates: readonly X509Certificate[];
  readonly roots: readonly X509Certificate[];
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** Certificates of a PEM bundle. Throws what node:crypto throws for a block that is no certificate. */
export function readCertificates(pem: string): X509Certificate[] {
  return readPemBlocks(pem, 'CERTIFICATE').map((bytes) => new X509Certificate(bytes));
}

function isValidAt(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs <= certificate.validToDate.getTime();
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  // checkIssued compares names, key identifiers and the issuer's keyUsage; verify checks the signature.
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** Undefined when a path of valid certificates leads from the leaf to a root, else the reason. */
export function chainProblem(input: ChainInput): string | undefined {
  const { leaf, nowMs } = input;
  if (leaf.ca) return 'the certificate is an authority, not a workload';
  if (!isValidAt(leaf, nowMs)) {
    return `the certificate is valid from ${leaf.validFrom} to ${leaf.validTo}, not now`;
  }
  const usages = leaf.keyUsage as readonly string[] | undefined;
  if (usages !== undefined && !usages.includes('1.3.6.1.5.5.7.3.2')) {
    return 'the certificate is not for TLS clients (extended key usage)';
  }
  let current = leaf;
  for (let length = 1; length < maxChainLength; length++) {
    const child = current;
    const usable = (issuer: X509Certificate) => isValidAt(issuer, nowMs) && isIssuedBy(child, issuer);
    if (input.roots.some(usable)) return undefined;
    const next = input.intermediates.find((candidate) => candidate !== child && usable(candidate));
    if (next === undefined) return 'no path to a trusted root';
    current = next;
  }
  return `no path of at most ${maxChainLength} certificates to a trusted root`;
}
