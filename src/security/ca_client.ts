/**
 * The agent's call to the authority: CreateCertificate over node:http2, one connection a call (a workload asks about
 * twice a day). No gRPC library: the sidecar's memory counts.
 */
import { fromBinary, create, toBinary } from '@bufbuild/protobuf';
import { readFile } from 'node:fs/promises';
import {
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
} from '#api/gen/istio/security/v1alpha1/ca_pb.ts';
import { callUnary, type ChannelOptions } from './grpc_call.ts';
import { developmentIdentityHeader } from './authn/development_header.ts';

/** How the caller proves who it is. */
export type CaCredentials =
  /** A bearer token, read from its file at each call because it is rotated there. */
  | { readonly kind: 'token'; readonly path: string }
  /** A client certificate, PEM, asked for at each call. */
  | { readonly kind: 'certificate'; readonly read: () => { certChain: string; privateKey: string } }
  /** Only for servers with the development authenticator: the identity as it is, on plaintext loopback. */
  | { readonly kind: 'development'; readonly identity: string };

/** Where the authority is and how it is reached. */
export interface CaClientOptions {
  /** `host:port`, `CA_ADDR`. */
  readonly address: string;
  /** `tls` verifies the server by the roots; `plaintext` is for loopback. */
  readonly security:
    | { readonly kind: 'plaintext' }
    | {
        readonly kind: 'tls';
        /** PEM file of roots, read at each call. */
        readonly rootPath: string;
        /** Name in the server's certificate. Default the host of the address. */
        readonly serverName?: string;
      };
  readonly credentials: CaCredentials;
  /** Header `clusterid`. Default `Kubernetes`. */
  readonly clusterId?: string;
  /** Limit of one call in milliseconds. Default 10 000. */
  readonly timeoutMs?: number;
}

const path = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

/**
 * Sends a CSR and returns the chain: leaf first, roots last, each PEM.
 * @throws GrpcCallError
 */
export async function createCertificate(
  options: CaClientOptions,
  csr: string,
  ttlMs: number,
): Promise<string[]> {
  const { security, credentials } = options;
  const headers: Record<string, string> = { clusterid: options.clusterId ?? 'Kubernetes' };
  if (credentials.kind === 'token') {
    headers['authorization'] = `Bearer ${(await readFile(credentials.path, 'utf8')).trim()}`;
  } else if (credentials.kind === 'development') {
    headers[developmentIdentityHeader] = credentials.identity;
  }
  const channel: ChannelOptions = { address: options.address };
  if (security.kind === 'tls') {
    channel.tls = { roots: await readFile(security.rootPath, 'utf8') };
    if (security.serverName !== undefined) channel.tls.serverName = security.serverName;
    if (credentials.kind === 'certificate') channel.tls.identity = credentials.read();
  }
  const request = create(IstioCertificateRequestSchema, {
    csr,
    validityDuration: BigInt(Math.floor(ttlMs / 1000)),
  });
  const body = toBinary(IstioCertificateRequestSchema, request);
  const response = await callUnary(channel, path, headers, body, options.timeoutMs ?? 10_000);
  return fromBinary(IstioCertificateResponseSchema, response).certChain;
}
