/** Writes key, chain and roots into a directory for others in the pod (`OUTPUT_CERTS`). */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkloadIdentity } from './workload_identity.ts';

/** Each file is replaced as a whole; the key is for its owner only. */
export async function writeOutputCerts(directory: string, identity: WorkloadIdentity): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [name, text, mode] of [
    ['key.pem', identity.privateKey, 0o600],
    ['cert-chain.pem', identity.certChain, 0o644],
    ['root-cert.pem', identity.roots, 0o644],
  ] as const) {
    const path = join(directory, name);
    await writeFile(`${path}.new`, text, { mode });
    await rename(`${path}.new`, path);
  }
}
