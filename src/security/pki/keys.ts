/** Key pairs and signatures of certificates and requests: ECDSA P-256 (default), P-384, RSA. */
import { createPublicKey, generateKeyPair, sign, verify, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { encode, objectIdentifier, sequence, tag } from './der.ts';
import { oid } from './oids.ts';

/** Kinds of keys we make; Istio's `ECC_SIGNATURE_ALGORITHM`/`ECC_CURVE` and `CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE`. */
export type KeyAlgorithm = 'ecdsa-p256' | 'ecdsa-p384' | 'rsa-2048' | 'rsa-4096';

/** A private key with its public half. */
export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const generate = promisify(generateKeyPair);

/** Makes a key pair on the thread pool. Default ECDSA P-256. */
export function makeKeyPair(algorithm: KeyAlgorithm = 'ecdsa-p256'): Promise<KeyPair> {
  switch (algorithm) {
    case 'ecdsa-p256':
      return generate('ec', { namedCurve: 'prime256v1' });
    case 'ecdsa-p384':
      return generate('ec', { namedCurve: 'secp384r1' });
    case 'rsa-2048':
      return generate('rsa', { modulusLength: 2048 });
    case 'rsa-4096':
      return generate('rsa', { modulusLength: 4096 });
  }
}

/** PKCS #8 PEM of a private key. Keep it out of logs. */
export function privateKeyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

const curveNames = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/** Why a public key is not accepted in a certificate, undefined when it is: RSA 2048 to 8192, P-256, P-384, P-521. */
export function publicKeyProblem(key: KeyObject): string | undefined {
  const details = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa') {
    const bits = details.modulusLength ?? 0;
    return bits >= 2048 && bits <= 8192 ? undefined : `RSA key of ${bits} bits (2048 to 8192 are accepted)`;
  }
  if (key.asymmetricKeyType === 'ec') {
    const curve = details.namedCurve ?? 'unknown';
    return curveNames.has(curve) ? undefined : `curve ${curve} (P-256, P-384 and P-521 are accepted)`;
  }
  return `key type ${key.asymmetricKeyType ?? 'unknown'} (RSA and EC are accepted)`;
}

interface SignatureAlgorithm {
  readonly oid: string;
  readonly digest: string;
  readonly type: 'rsa' | 'ec';
}

const signatureAlgorithms: readonly SignatureAlgorithm[] = [
  { oid: oid.ecdsaWithSha256, digest: 'sha256', type: 'ec' },
  { oid: oid.ecdsaWithSha384, digest: 'sha384', type: 'ec' },
  { oid: oid.ecdsaWithSha512, digest: 'sha512', type: 'ec' },
  { oid: oid.sha256WithRsa, digest: 'sha256', type: 'rsa' },
  { oid: oid.sha384WithRsa, digest: 'sha384', type: 'rsa' },
  { oid: oid.sha512WithRsa, digest: 'sha512', type: 'rsa' },
];

function chooseAlgorithm(key: KeyObject): SignatureAlgorithm {
  const type = key.asymmetricKeyType;
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const digest = curve === 'secp521r1' ? 'sha512' : curve === 'secp384r1' ? 'sha384' : 'sha256';
  const found = signatureAlgorithms.find(
    (algorithm) => algorithm.type === type && algorithm.digest === digest,
  );
  if (found === undefined) throw new TypeError(`cannot sign with a key of type ${type ?? 'unknown'}`);
  return found;
}

/** AlgorithmIdentifier (RFC 5280, section 4.1.1.2) of signatures by this key. */
export function signatureAlgorithmDer(key: KeyObject): Buffer {
  const algorithm = chooseAlgorithm(key);
  const parameters = algorithm.type === 'rsa' ? [encode(tag.null)] : [];
  return sequence(objectIdentifier(algorithm.oid), ...parameters);
}

/** Signs with the algorithm that `signatureAlgorithmDer` names for the key. */
export function signDer(key: KeyObject, data: Buffer): Buffer {
  return sign(chooseAlgorithm(key).digest, data, key);
}

/** Whether the signature of the named algorithm is by the key; false for algorithms not listed above. */
export function verifyDer(algorithmOid: string, key: KeyObject, data: Buffer, signature: Buffer): boolean {
  const algorithm = signatureAlgorithms.find((candidate) => candidate.oid === algorithmOid);
  if (algorithm === undefined || algorithm.type !== key.asymmetricKeyType) return false;
  return verify(algorithm.digest, data, key, signature);
}

/** SubjectPublicKeyInfo of a public or private key. */
export function publicKeyDer(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' });
}
