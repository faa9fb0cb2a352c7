/** The agent's call to the authority: CreateCertificate over whatever gRPC client the caller has. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
} from '#api/gen/istio/security/v1alpha1/ca_pb.ts';
import { splitCertificates } from './pki/pem.ts';

/** One unary gRPC call: path, request bytes, request metadata in lower case; rejects for a status other than OK. */
export type UnaryCall = (
  path: string,
  request: Uint8Array,
  metadata: Readonly<Record<string, string>>,
) => Promise<Uint8Array>;

/** Most certificates in an answer. */
export const maxChainCertificates = 100;

const path = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

/**
 * Sends a CSR and returns the chain: leaf first, roots last, each PEM. The credentials are the affair of `call`.
 * @param ttlMs life asked for; 0 leaves it to the authority.
 * @param clusterId header `clusterid`, by which the authority may choose among clusters' tokens.
 */
export async function createCertificate(
  call: UnaryCall,
  csr: string,
  ttlMs: number,
  clusterId = 'Kubernetes',
): Promise<string[]> {
  const request = create(IstioCertificateRequestSchema, {
    csr,
    validityDuration: BigInt(Math.floor(ttlMs / 1000)),
  });
  const bytes = await call(path, toBinary(IstioCertificateRequestSchema, request), { clusterid: clusterId });
  const { certChain } = fromBinary(IstioCertificateResponseSchema, bytes);
  // An authority may put several certificates into one entry.
  const chain = certChain.flatMap((entry) => splitCertificates(entry));
  if (chain.length === 0) throw new Error('the authority answered without certificate');
  if (chain.length > maxChainCertificates) throw new Error(`an answer of ${chain.length} certificates`);
  return chain;
}
