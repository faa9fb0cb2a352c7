/** A JSON Web Key Set (RFC 7517) and the verification of signatures with it (RFC 7518, RFC 8037). */
import {
  constants,
  createHmac,
  createPublicKey,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import { type Jwt, JwtError } from './token.ts';

interface Key {
  readonly key: KeyObject;
  /** `RSA`, `EC`, `OKP`, `oct`. */
  readonly type: string;
  /** Empty when the set does not say. */
  readonly kid: string;
  readonly alg: string;
  /** Of an elliptic curve key. */
  readonly curve: string;
}

/** Most keys of one set; more are not looked at. */
const maxKeys = 100;

/** What an algorithm asks of a key. */
const families: Readonly<Record<string, { readonly type: string; readonly curve?: string }>> = {
  ES256: { type: 'EC', curve: 'P-256' },
  ES384: { type: 'EC', curve: 'P-384' },
  ES512: { type: 'EC', curve: 'P-521' },
  HS256: { type: 'oct' },
  HS384: { type: 'oct' },
  HS512: { type: 'oct' },
  RS256: { type: 'RSA' },
  RS384: { type: 'RSA' },
  RS512: { type: 'RSA' },
  PS256: { type: 'RSA' },
  PS384: { type: 'RSA' },
  PS512: { type: 'RSA' },
  EdDSA: { type: 'OKP', curve: 'Ed25519' },
};

function readKey(jwk: unknown): Key | undefined {
  if (typeof jwk !== 'object' || jwk === null) return undefined;
  const { kty, kid, alg, crv, k } = jwk as Record<string, unknown>;
  if (typeof kty !== 'string') return undefined;
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  try {
    const key =
      kty === 'oct'
        ? createSecretKey(Buffer.from(text(k), 'base64url'))
        : createPublicKey({ key: jwk, format: 'jwk' });
    return { key, type: kty, kid: text(kid), alg: text(alg), curve: text(crv) };
  } catch {
    return undefined; // a key of a kind that is not known: the others may do
  }
}

function verifies(jwt: Jwt, { key }: Key): boolean {
  const hash = `sha${jwt.alg.slice(2)}`;
  const signed = Buffer.from(jwt.signed, 'latin1');
  try {
    switch (jwt.alg.slice(0, 2)) {
      case 'RS':
        return verify(hash, signed, key, jwt.signature);
      case 'PS':
        return verify(
          hash,
          signed,
          {
            key,
            padding: constants.RSA_PKCS1_PSS_PADDING,
            saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
          },
          jwt.signature,
        );
      case 'ES':
        return verify(hash, signed, { key, dsaEncoding: 'ieee-p1363' }, jwt.signature);
      case 'HS': {
        const mac = createHmac(hash, key).update(signed).digest();
        return mac.length === jwt.signature.length && timingSafeEqual(mac, jwt.signature);
      }
      default:
        return verify(null, signed, key, jwt.signature);
    }
  } catch {
    return false;
  }
}

export class Jwks {
  readonly #keys: readonly Key[];

  /** @throws Error when the text is no key set, or none of its keys can be used. */
  constructor(text: string) {
    const set: unknown = JSON.parse(text);
    const list = (set as { keys?: unknown } | null)?.keys;
    if (!Array.isArray(list)) throw new Error("the key set has no list 'keys'");
    this.#keys = list.slice(0, maxKeys).flatMap((jwk) => readKey(jwk) ?? []);
    if (this.#keys.length === 0) throw new Error('the key set has no key that can be used');
  }

  /** Undefined when a key of the set has signed the token. */
  verify(jwt: Jwt): JwtError | undefined {
    const family = families[jwt.alg];
    let matched = false;
    for (const key of this.#keys) {
      if (jwt.kid !== '' && key.kid !== '' && jwt.kid !== key.kid) continue;
      if (key.alg !== '' && key.alg !== jwt.alg) continue;
      if (key.type !== family?.type || (family.curve !== undefined && key.curve !== family.curve)) continue;
      matched = true;
      if (verifies(jwt, key)) return undefined;
    }
    return matched ? JwtError.verificationFail : JwtError.jwksKidAlgMismatch;
  }
}
