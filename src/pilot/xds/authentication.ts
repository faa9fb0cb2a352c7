/** Who a proxy is, and whether it is what its node says (Istio: identity must match the node's namespace). */
import { type Authenticator, type Caller, authenticate } from '#security/authn/authenticator.ts';
import { GrpcError, grpcStatus } from '#xds/grpc_status.ts';
import type { Peer } from '#xds/transport.ts';
import type { Proxy } from '../model/proxy.ts';

/**
 * The caller of a stream. A stream without TLS may come without credentials: its port listens on loopback only; credentials
 * that are there must hold.
 * @throws GrpcError `unauthenticated`
 */
export async function authenticatePeer(
  authenticators: readonly Authenticator[],
  peer: Peer,
): Promise<Caller | undefined> {
  if (peer.kind === 'memory' || peer.kind === 'unix') return undefined;
  const [peerCertificate, ...peerIntermediates] = peer.certificates ?? [];
  const result = await authenticate(authenticators, {
    header: (name) => peer.metadata[name],
    connection: {
      encrypted: peer.kind === 'tls',
      remoteAddress: peer.address,
      peerIntermediates,
      // The server ends connections whose certificate does not verify.
      peerAuthorized: peerCertificate !== undefined,
      ...(peerCertificate === undefined ? {} : { peerCertificate }),
    },
  });
  if (result.caller !== undefined) return result.caller;
  const presented = peer.metadata['authorization'] !== undefined;
  if (peer.kind === 'plaintext' && !presented) return undefined;
  throw new GrpcError(grpcStatus.unauthenticated, 'authentication failure', {
    cause: result.reasons.join('; '),
  });
}

/** @throws GrpcError `permissionDenied` when the caller may not be this proxy. */
export function authorizeProxy(caller: Caller, proxy: Proxy): void {
  const sameAccount = proxy.serviceAccount === '' || caller.serviceAccount === proxy.serviceAccount;
  if (caller.namespace === proxy.namespace && sameAccount) return;
  throw new GrpcError(
    grpcStatus.permissionDenied,
    `no identity of ${caller.identities.join(', ')} matches ${proxy.namespace}/${proxy.serviceAccount || '*'}`,
  );
}
