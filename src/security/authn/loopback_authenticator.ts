/**
 * Development only: believes what a plaintext caller on loopback says it is. Every process of the machine can then be any
 * workload, so it is made only when the operator asked for it by name.
 */
import { parseSpiffe } from '../spiffe.ts';
import { AuthenticationError, callerOf, type Authenticator } from './authenticator.ts';
import { developmentIdentityHeader } from './development_header.ts';

/** Whether an address is of this machine alone: 127/8, ::1, IPv4-mapped 127/8. */
export function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address) || address === '::1';
}

/** Accepts unencrypted loopback callers that name an identity of the trust domain. */
export function loopbackAuthenticator(trustDomain: string): Authenticator {
  return {
    name: 'development',
    async authenticate(request) {
      const uri = request.header(developmentIdentityHeader);
      if (uri === undefined) return null;
      const { encrypted, remoteAddress } = request.connection;
      if (encrypted || !isLoopback(remoteAddress)) throw new AuthenticationError('not plaintext on loopback');
      if (parseSpiffe(uri)?.trustDomain !== trustDomain)
        throw new AuthenticationError('another trust domain');
      return callerOf(uri, 'development');
    },
  };
}
