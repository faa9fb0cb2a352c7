/** The checked content of an authority: key and certificate belong together and lead to the root. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { issueRoot, clockSkewMs } from '../pki/certificate.ts';
import { certificateSubjectDer } from '../pki/extensions.ts';
import { makeKeyPair, privateKeyPem, publicKeyProblem, type KeyAlgorithm } from '../pki/keys.ts';
import { chainProblem, readCertificates } from '../pki/verify_chain.ts';
import { writePem } from '../pki/pem.ts';
import type { CaFiles } from './ca_directory.ts';

/** What an authority signs with. Immutable; a renewal makes a new one. */
export interface CaMaterial {
  readonly files: CaFiles;
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
  readonly roots: readonly X509Certificate[];
  /** From the signing certificate upwards, without roots. Empty when a root signs. */
  readonly intermediates: readonly X509Certificate[];
  /** A root that we made ourselves and may renew. */
  readonly selfSigned: boolean;
}

/** PEM text of a certificate. */
export function certificatePem(certificate: X509Certificate): string {
  return writePem('CERTIFICATE', certificate.raw);
}

function chainToRoot(
  certificate: X509Certificate,
  pool: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): X509Certificate[] {
  const isRoot = (candidate: X509Certificate) => roots.some((root) => root.raw.equals(candidate.raw));
  const chain: X509Certificate[] = [];
  let current: X509Certificate | undefined = certificate;
  while (current !== undefined && !isRoot(current) && !chain.includes(current)) {
    const child: X509Certificate = current;
    chain.push(child);
    current = pool.find((candidate) => candidate !== child && child.checkIssued(candidate));
  }
  return chain;
}

/**
 * Reads the files of an authority.
 * @throws Error that says what does not fit together.
 */
export function readCaMaterial(files: CaFiles, nowMs: number): CaMaterial {
  const [certificate] = readCertificates(files.certificate);
  if (certificate === undefined) throw new Error('ca-cert.pem holds no certificate');
  if (!certificate.ca) throw new Error('ca-cert.pem is not an authority (basicConstraints CA)');
  const privateKey = createPrivateKey(files.privateKey);
  if (!certificate.checkPrivateKey(privateKey)) throw new Error('ca-key.pem is not the key of ca-cert.pem');
  const problem = publicKeyProblem(certificate.publicKey);
  if (problem !== undefined) throw new Error(`ca-cert.pem: ${problem}`);
  const roots = readCertificates(files.root);
  if (roots.length === 0) throw new Error('root-cert.pem holds no certificate');
  if (certificate.validToDate.getTime() <= nowMs)
    throw new Error(`ca-cert.pem ended on ${certificate.validTo}`);

  const selfSigned = certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey);
  const intermediates = chainToRoot(certificate, readCertificates(files.chain), roots);
  const top = intermediates.at(-1) ?? certificate;
  const anchored = roots.some(
    (root) => root.raw.equals(top.raw) || (top.checkIssued(root) && top.verify(root.publicKey)),
  );
  if (!anchored) throw new Error('no path from ca-cert.pem over cert-chain.pem to root-cert.pem');
  return { files, certificate, privateKey, roots, intermediates, selfSigned };
}

/** Makes a self-signed root whose organisation is the trust domain. */
export async function makeSelfSigned(
  trustDomain: string,
  algorithm: KeyAlgorithm,
  nowMs: number,
  ttlMs: number,
): Promise<CaFiles> {
  const keys = await makeKeyPair(algorithm);
  const validity = { notBeforeMs: nowMs - clockSkewMs, notAfterMs: nowMs + ttlMs };
  const root = issueRoot(keys, trustDomain, validity);
  return { certificate: root, privateKey: privateKeyPem(keys.privateKey), root, chain: root };
}

/** The same key and subject with a new validity: leaves of the old root verify against the new one and back. */
export function renewSelfSigned(
  material: CaMaterial,
  trustDomain: string,
  nowMs: number,
  ttlMs: number,
): CaFiles {
  const keys = { privateKey: material.privateKey, publicKey: material.certificate.publicKey };
  const validity = { notBeforeMs: nowMs - clockSkewMs, notAfterMs: nowMs + ttlMs };
  const root = issueRoot(keys, trustDomain, validity);
  if (!certificateSubjectDer(new X509Certificate(root)).equals(certificateSubjectDer(material.certificate))) {
    throw new Error('the subject of the root differs from the trust domain: renew it by hand');
  }
  return { certificate: root, privateKey: material.files.privateKey, root, chain: root };
}

/** Undefined when the certificate of a peer leads to one of the authority's roots, else the reason. */
export function peerProblem(
  material: CaMaterial,
  leaf: X509Certificate,
  sent: readonly X509Certificate[],
  nowMs: number,
): string | undefined {
  const intermediates = [...sent, ...material.intermediates];
  return chainProblem({ leaf, intermediates, roots: material.roots, nowMs });
}
