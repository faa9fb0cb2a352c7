/** Authenticates by the client certificate of the TLS connection, as agents do for renewals (Istio's mTLS to 15012). */
import { certificateUris } from '../pki/extensions.ts';
import type { CertificateAuthority } from '../ca/certificate_authority.ts';
import { AuthenticationError, callerOf, type Authenticator } from './authenticator.ts';

/**
 * Accepts certificates that both the TLS library and our own path check lead to the authority's root, with exactly one
 * SPIFFE identity.
 */
export function clientCertificateAuthenticator(
  authority: Pick<CertificateAuthority, 'peerProblem'>,
): Authenticator {
  return {
    name: 'mtls',
    async authenticate(request) {
      const { peerCertificate, peerIntermediates, peerAuthorized } = request.connection;
      if (peerCertificate === undefined) return null;
      if (!peerAuthorized) throw new AuthenticationError('TLS did not verify the client certificate');
      const problem = authority.peerProblem(peerCertificate, peerIntermediates);
      if (problem !== undefined) throw new AuthenticationError(problem);
      const uris = certificateUris(peerCertificate);
      const [uri] = uris;
      if (uri === undefined || uris.length > 1) {
        throw new AuthenticationError(`the client certificate holds ${uris.length} URIs in place of one`);
      }
      return callerOf(uri, 'mtls');
    },
  };
}
