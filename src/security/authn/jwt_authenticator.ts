/** Authenticates by a Kubernetes service-account token (`authorization: Bearer ...`). */
import { readFile } from 'node:fs/promises';
import type { KeyObject } from 'node:crypto';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  jwtVerify,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
} from 'jose';
import { formatSpiffe } from '../spiffe.ts';
import { AuthenticationError, callerOf, type Authenticator } from './authenticator.ts';

/** Where the keys are that sign tokens. A file is read once, at the first token. */
export type TokenKeys =
  | { readonly kind: 'key'; readonly publicKey: KeyObject }
  | { readonly kind: 'jwks'; readonly keys: JSONWebKeySet }
  | { readonly kind: 'jwks_file'; readonly path: string }
  | { readonly kind: 'jwks_uri'; readonly uri: string };

/** Which tokens are accepted. */
export interface JwtAuthenticatorOptions {
  /** Claim `iss`, exact. */
  readonly issuers: readonly string[];
  /** Claim `aud` holds one of these. Default `istio-ca` (`TOKEN_AUDIENCES`). */
  readonly audiences?: readonly string[];
  readonly keys: TokenKeys;
  /** Trust domain of the identities made from tokens. */
  readonly trustDomain: string;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** Longest token in characters. */
export const maxTokenChars = 16 * 1024;

const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'];

/** Tolerated difference of clocks in seconds. */
const clockToleranceS = 60;

async function keyGetter(keys: TokenKeys): Promise<JWTVerifyGetKey> {
  switch (keys.kind) {
    case 'key':
      return async () => keys.publicKey;
    case 'jwks':
      return createLocalJWKSet(keys.keys);
    case 'jwks_file':
      return createLocalJWKSet(JSON.parse(await readFile(keys.path, 'utf8')) as JSONWebKeySet);
    case 'jwks_uri':
      return createRemoteJWKSet(new URL(keys.uri), { timeoutDuration: 5000 });
  }
}

interface KubernetesClaims {
  readonly namespace?: unknown;
  readonly serviceaccount?: { readonly name?: unknown };
  readonly pod?: { readonly name?: unknown };
}

/** Namespace and service account from `sub`; the `kubernetes.io` claim must not say otherwise. */
function readSubject(payload: JWTPayload): { namespace: string; serviceAccount: string; podName?: string } {
  const [system, kind, namespace = '', serviceAccount = '', ...rest] = (payload.sub ?? '').split(':');
  if (system !== 'system' || kind !== 'serviceaccount' || rest.length > 0) {
    throw new AuthenticationError('claim sub is not of the form system:serviceaccount:NAMESPACE:NAME');
  }
  const claims = payload['kubernetes.io'] as KubernetesClaims | null | undefined;
  if (claims === undefined || claims === null) return { namespace, serviceAccount };
  if (
    typeof claims !== 'object' ||
    claims.namespace !== namespace ||
    claims.serviceaccount?.name !== serviceAccount
  ) {
    throw new AuthenticationError('claims sub and kubernetes.io differ');
  }
  const podName = claims.pod?.name;
  return { namespace, serviceAccount, ...(typeof podName === 'string' ? { podName } : {}) };
}

/** Accepts asymmetric signatures only; `exp` is required. */
export function jwtAuthenticator(options: JwtAuthenticatorOptions): Authenticator {
  const audience = [...(options.audiences ?? ['istio-ca'])];
  let getter: Promise<JWTVerifyGetKey> | undefined;
  return {
    name: 'jwt',
    async authenticate(request) {
      const header = request.header('authorization');
      if (header === undefined || !/^bearer /i.test(header)) return null;
      const token = header.slice(7).trim();
      if (token.length > maxTokenChars) throw new AuthenticationError('the token is too long');
      getter ??= keyGetter(options.keys);
      let payload: JWTPayload;
      try {
        const verified = await jwtVerify(token, await getter, {
          issuer: [...options.issuers],
          audience,
          algorithms,
          clockTolerance: clockToleranceS,
          requiredClaims: ['exp', 'sub'],
          currentDate: new Date((options.now ?? Date.now)()),
        });
        payload = verified.payload;
      } catch (error) {
        if (!(error instanceof errors.JOSEError)) getter = undefined;
        throw new AuthenticationError(error instanceof Error ? error.message : String(error), {
          cause: error,
        });
      }
      const { podName, ...subject } = readSubject(payload);
      let uri: string;
      try {
        uri = formatSpiffe({ trustDomain: options.trustDomain, ...subject });
      } catch (error) {
        throw new AuthenticationError('claim sub gives no SPIFFE identity', { cause: error });
      }
      return callerOf(uri, 'jwt', podName);
    },
  };
}
