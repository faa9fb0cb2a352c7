/** Issues service-account tokens for the mesh on one machine, in the form of Kubernetes' bound tokens. */
import { createHash, createPrivateKey, createPublicKey, randomUUID, type KeyObject } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { exportJWK, SignJWT, type JSONWebKeySet } from 'jose';
import { makeKeyPair, privateKeyPem } from '../pki/keys.ts';

/** Issuer that Kubernetes writes into tokens by default. */
export const kubernetesIssuer = 'https://kubernetes.default.svc';

/** Audience of tokens for the mesh's authority. */
export const istioCaAudience = 'istio-ca';

/** How tokens are made. */
export interface TokenIssuerOptions {
  /** Claim `iss`. Default `https://kubernetes.default.svc`. */
  readonly issuer?: string;
  /** Claim `aud`. Default `istio-ca`. */
  readonly audience?: string;
  /** Life of a token in milliseconds. Default 12 h (the projection of the injected pod). */
  readonly ttlMs?: number;
  /** PEM file (mode 0600) that keeps the P-256 signing key across restarts. Without it a new key is made. */
  readonly keyFile?: string;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** Whom a token speaks for. */
export interface TokenSubject {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName: string;
}

async function readOrMakeKey(path: string | undefined): Promise<KeyObject> {
  if (path !== undefined) {
    try {
      return createPrivateKey(await readFile(path, 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  const { privateKey } = await makeKeyPair('ecdsa-p256');
  if (path !== undefined) await writeFile(path, privateKeyPem(privateKey), { mode: 0o600, flag: 'wx' });
  return privateKey;
}

/** Signs tokens with ES256. */
export class TokenIssuer {
  readonly issuer: string;
  readonly audience: string;
  /** Verifies the tokens; for `jwtAuthenticator({ keys: { kind: 'key', publicKey } })` in the same process. */
  readonly publicKey: KeyObject;
  readonly #privateKey: KeyObject;
  readonly #options: TokenIssuerOptions;
  readonly #keyId: string;

  private constructor(options: TokenIssuerOptions, privateKey: KeyObject) {
    this.issuer = options.issuer ?? kubernetesIssuer;
    this.audience = options.audience ?? istioCaAudience;
    this.#options = options;
    this.#privateKey = privateKey;
    this.publicKey = createPublicKey(privateKey);
    const der = this.publicKey.export({ type: 'spki', format: 'der' });
    this.#keyId = createHash('sha256').update(der).digest('base64url');
  }

  /** Reads the key file or makes a key. */
  static async open(options: TokenIssuerOptions = {}): Promise<TokenIssuer> {
    return new TokenIssuer(options, await readOrMakeKey(options.keyFile));
  }

  /** A token in compact form. Keep it out of logs. */
  issue(subject: TokenSubject): Promise<string> {
    const nowS = Math.floor((this.#options.now ?? Date.now)() / 1000);
    const ttlS = Math.floor((this.#options.ttlMs ?? 12 * 3_600_000) / 1000);
    const { namespace, serviceAccount, podName } = subject;
    return new SignJWT({
      'kubernetes.io': { namespace, serviceaccount: { name: serviceAccount }, pod: { name: podName } },
    })
      .setProtectedHeader({ alg: 'ES256', kid: this.#keyId })
      .setIssuer(this.issuer)
      .setAudience(this.audience)
      .setSubject(`system:serviceaccount:${namespace}:${serviceAccount}`)
      .setIssuedAt(nowS)
      .setNotBefore(nowS)
      .setExpirationTime(nowS + ttlS)
      .setJti(randomUUID())
      .sign(this.#privateKey);
  }

  /** The public key as a JSON Web Key Set, for authenticators of another process. */
  async jwks(): Promise<JSONWebKeySet> {
    const key = await exportJWK(this.publicKey);
    return { keys: [{ ...key, kid: this.#keyId, alg: 'ES256', use: 'sig' }] };
  }
}
