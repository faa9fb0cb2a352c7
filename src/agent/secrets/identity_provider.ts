/** Ways to come to an identity: a CSR to the authority, or files that something else writes. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createCertificate, type UnaryCall } from '#security/ca_client.ts';
import { createCsr } from '#security/pki/csr.ts';
import { makeKeyPair, privateKeyPem, type KeyAlgorithm } from '#security/pki/keys.ts';
import { checkIdentity, splitChain, type WorkloadIdentity } from './workload_identity.ts';

/** One source of identities. */
export interface IdentityProvider {
  readonly name: string;
  /** A new identity. Rejects when there is none now; the caller tries again. */
  obtain(): Promise<WorkloadIdentity>;
  /** Look again after this time in place of half the life: files change when their writer wants. Milliseconds. */
  readonly pollMs?: number;
}

/** A new key and CSR for each call; the authority decides on the identity by the caller's credentials. */
export function authorityProvider(options: {
  readonly call: UnaryCall;
  /** SPIFFE ID that the CSR names. */
  readonly identity: string;
  readonly ttlMs: number;
  readonly clusterId: string;
  readonly keyAlgorithm?: KeyAlgorithm;
  readonly now?: () => number;
}): IdentityProvider {
  return {
    name: 'authority',
    async obtain() {
      const keys = await makeKeyPair(options.keyAlgorithm ?? 'ecdsa-p256');
      const csr = createCsr(keys, [options.identity]);
      const chain = await createCertificate(options.call, csr, options.ttlMs, options.clusterId);
      const parts = { ...splitChain(chain), privateKey: privateKeyPem(keys.privateKey) };
      return checkIdentity(parts, (options.now ?? Date.now)());
    },
  };
}

/** Reads cert-chain.pem, key.pem and root-cert.pem of a directory (workload-spiffe-credentials). */
export function filesProvider(directory: string, now: () => number = Date.now): IdentityProvider {
  return {
    name: 'files',
    pollMs: 10_000,
    async obtain() {
      const read = (name: string) => readFile(join(directory, name), 'utf8');
      const [certChain, privateKey, roots] = await Promise.all([
        read('cert-chain.pem'),
        read('key.pem'),
        read('root-cert.pem'),
      ]);
      return checkIdentity({ certChain, privateKey, roots }, now());
    },
  };
}
