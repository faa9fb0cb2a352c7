/** Looks at a secret before it is used: a broken one is refused by name, and its old version stays. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { DataSource } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Secret } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';

/** Inline text; undefined for files and absent sources, which are read when they are used. */
function inlineText(source: DataSource | undefined): string | undefined {
  const { case: kind, value } = source?.specifier ?? { case: undefined };
  if (kind === 'inlineBytes') return Buffer.from(value).toString('utf8');
  return kind === 'inlineString' ? value : undefined;
}

function parseCertificates(pem: string, what: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN [A-Z ]*CERTIFICATE-----[^-]*-----END [A-Z ]*CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error(`${what}: no PEM certificate`);
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw new Error(`${what}: certificate ${i + 1} does not parse`, { cause: error });
    }
  });
}

/** @throws Error that names the part; never with a part of the secret in its text. */
export function checkSecret({ type }: Secret): void {
  if (type.case === 'validationContext') {
    const roots = inlineText(type.value.trustedCa);
    if (roots !== undefined) parseCertificates(roots, 'trusted_ca');
    return;
  }
  if (type.case !== 'tlsCertificate') return;
  const chain = inlineText(type.value.certificateChain);
  const key = inlineText(type.value.privateKey);
  const leaf = chain === undefined ? undefined : parseCertificates(chain, 'certificate_chain')[0];
  if (key === undefined || type.value.password !== undefined) return;
  let parsed;
  try {
    parsed = createPrivateKey(key);
  } catch {
    throw new Error('private_key does not parse');
  }
  if (leaf !== undefined && !leaf.checkPrivateKey(parsed))
    throw new Error('private_key does not belong to the first certificate of certificate_chain');
}
