/** Who calls the control plane: credentials of a request in, identities out. */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { parseSpiffe } from '../spiffe.ts';

/** An authenticated workload. */
export interface Caller {
  /** SPIFFE IDs, at least one. */
  readonly identities: readonly string[];
  readonly namespace: string;
  readonly serviceAccount: string;
  /** How it was authenticated; `development` only when plaintext callers on loopback were explicitly enabled. */
  readonly source: 'jwt' | 'mtls' | 'development';
  /** Pod that a bound token names. */
  readonly podName?: string;
}

/** What is known of the connection on which a request came. */
export interface ConnectionInfo {
  readonly encrypted: boolean;
  readonly remoteAddress: string;
  /** The peer's certificate; TLS has proved that it holds the key. */
  readonly peerCertificate?: X509Certificate;
  /** Certificates that the peer sent above its own. */
  readonly peerIntermediates: readonly X509Certificate[];
  /** Whether the TLS library verified the peer's certificate against the roots of the server. */
  readonly peerAuthorized: boolean;
}

/** A request as authenticators see it. */
export interface AuthenticationRequest {
  /** Value of a header, name in lower case. */
  header(name: string): string | undefined;
  readonly connection: ConnectionInfo;
}

/** Credentials that are there but do not hold. The message is for the log, not for the caller. */
export class AuthenticationError extends Error {
  override name = 'AuthenticationError';
}

/** One way to authenticate. */
export interface Authenticator {
  /** Name for logs, `jwt`, `mtls`. */
  readonly name: string;
  /** The caller, or null when the request holds no credentials of this kind. @throws AuthenticationError */
  authenticate(request: AuthenticationRequest): Promise<Caller | null>;
}

/** Result of several authenticators: the first caller found, or all reasons against. */
export type AuthenticationResult =
  | { readonly caller: Caller }
  | { readonly caller?: undefined; readonly reasons: readonly string[] };

/** Asks the authenticators in order; credentials of one kind that do not hold leave the others a chance, as in Istio. */
export async function authenticate(
  authenticators: readonly Authenticator[],
  request: AuthenticationRequest,
): Promise<AuthenticationResult> {
  const reasons: string[] = [];
  for (const authenticator of authenticators) {
    try {
      const caller = await authenticator.authenticate(request);
      if (caller !== null) return { caller };
      reasons.push(`${authenticator.name}: no credentials`);
    } catch (error) {
      if (!(error instanceof AuthenticationError)) throw error;
      reasons.push(`${authenticator.name}: ${error.message}`);
    }
  }
  return { reasons };
}

/** The caller of one identity. @throws AuthenticationError when it is not of Istio's form */
export function callerOf(uri: string, source: Caller['source'], podName?: string): Caller {
  const identity = parseSpiffe(uri);
  if (identity === undefined) throw new AuthenticationError(`${JSON.stringify(uri)} is no SPIFFE identity`);
  const { namespace, serviceAccount } = identity;
  return {
    identities: [uri],
    namespace,
    serviceAccount,
    source,
    ...(podName === undefined ? {} : { podName }),
  };
}

/** Most certificates taken from a peer's chain. */
const maxPeerChain = 5;

/** Facts of a TCP or TLS connection; `socket` may be the proxy object of an HTTP/2 session. */
export function readConnectionInfo(socket: Socket | TLSSocket): ConnectionInfo {
  const remoteAddress = socket.remoteAddress ?? '';
  const tls = socket as Partial<TLSSocket>;
  if (tls.encrypted !== true) {
    return { encrypted: false, remoteAddress, peerIntermediates: [], peerAuthorized: false };
  }
  const peerCertificate = tls.getPeerX509Certificate?.();
  if (peerCertificate === undefined) {
    return { encrypted: true, remoteAddress, peerIntermediates: [], peerAuthorized: false };
  }
  const peerIntermediates: X509Certificate[] = [];
  let next = peerCertificate.issuerCertificate;
  while (next !== undefined && peerIntermediates.length < maxPeerChain) {
    peerIntermediates.push(next);
    next = next.issuerCertificate;
  }
  return {
    encrypted: true,
    remoteAddress,
    peerCertificate,
    peerIntermediates,
    peerAuthorized: tls.authorized === true,
  };
}
