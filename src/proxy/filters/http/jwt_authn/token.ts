/** A JSON Web Token taken apart (RFC 7519, RFC 7515 compact serialization), and what can be wrong with it. */

/** Why a request has no verified token. The texts are Envoy's: they stand in answers and logs. */
export const JwtError = {
  missing: 'Jwt is missing',
  notYetValid: 'Jwt not yet valid',
  expired: 'Jwt is expired',
  badFormat: 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  headerBadBase64: 'Jwt header is an invalid Base64url encoded',
  headerBadJson: 'Jwt header is an invalid JSON',
  headerBadAlg: 'Jwt header [alg] field is required and must be a string',
  headerNotImplementedAlg: 'Jwt header [alg] is not supported',
  headerBadKid: 'Jwt header [kid] field is not a string',
  payloadBadBase64: 'Jwt payload is an invalid Base64url encoded',
  payloadBadJson: 'Jwt payload is an invalid JSON',
  payloadIssNotString: 'Jwt payload [iss] field is not a string',
  payloadSubNotString: 'Jwt payload [sub] field is not a string',
  payloadIatNotInteger: 'Jwt payload [iat] field is not an integer',
  payloadNbfNotInteger: 'Jwt payload [nbf] field is not an integer',
  payloadExpNotInteger: 'Jwt payload [exp] field is not an integer',
  payloadJtiNotString: 'Jwt payload [jti] field is not a string',
  payloadAudNotString: 'Jwt payload [aud] field is not a string or string list',
  signatureBadBase64: 'Jwt signature is an invalid Base64url encoded',
  unknownIssuer: 'Jwt issuer is not configured',
  audienceNotAllowed: 'Audiences in Jwt are not allowed',
  subjectNotAllowed: 'Subject in Jwt is not allowed',
  missingExpiration: 'Jwt expiration is missing',
  lifetimeTooLong: 'Jwt lifetime exceeds the maximum',
  verificationFail: 'Jwt verification fails',
  jwksFetchFail: 'Jwks remote fetch is failed',
  jwksKidAlgMismatch: "Jwks doesn't have key to match kid or alg from Jwt",
} as const;
export type JwtError = (typeof JwtError)[keyof typeof JwtError];

/** A token whose form is right; nothing of it is verified yet. */
export interface Jwt {
  /** As it came. */
  readonly text: string;
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
  /** The second part as it came, base64url. */
  readonly payloadText: string;
  readonly alg: string;
  /** Empty when absent. */
  readonly kid: string;
  readonly issuer: string;
  readonly subject: string;
  readonly audiences: readonly string[];
  /** Seconds since the epoch; undefined when absent. */
  readonly issuedAt: number | undefined;
  readonly notBefore: number | undefined;
  readonly expires: number | undefined;
  /** The bytes that are signed, as text. */
  readonly signed: string;
  readonly signature: Buffer;
}

/** Longest token that is looked at; the header list is bounded too. */
const maxTokenLength = 64 * 1024;

/** Algorithms that keys are looked for (RFC 7518 3.1, RFC 8037). */
export const algorithms: ReadonlySet<string> = new Set([
  'ES256',
  'ES384',
  'ES512',
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'EdDSA',
]);

const base64Url = /^[A-Za-z0-9_-]*$/;

function decode(part: string): Buffer | undefined {
  return base64Url.test(part) && part.length % 4 !== 1 ? Buffer.from(part, 'base64url') : undefined;
}

function parseObject(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Times are numbers that are not negative; a fraction of a second is cut off. */
function isTime(value: unknown): value is number | undefined {
  return value === undefined || (typeof value === 'number' && Number.isFinite(value) && value >= 0);
}

function isText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}

function audiencesOf(value: unknown): readonly string[] | undefined {
  if (value === undefined) return [];
  if (typeof value === 'string') return [value];
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined;
}

/** Takes a token apart, or says what is wrong with it. */
export function parseJwt(text: string): Jwt | JwtError {
  const parts = text.length > maxTokenLength ? [] : text.split('.');
  const [headerText, payloadText, signatureText] = parts;
  if (
    parts.length !== 3 ||
    headerText === undefined ||
    payloadText === undefined ||
    signatureText === undefined ||
    parts.includes('')
  )
    return JwtError.badFormat;
  const headerBytes = decode(headerText);
  if (headerBytes === undefined) return JwtError.headerBadBase64;
  const header = parseObject(headerBytes);
  if (header === undefined) return JwtError.headerBadJson;
  const { alg, kid } = header;
  if (typeof alg !== 'string') return JwtError.headerBadAlg;
  if (!algorithms.has(alg)) return JwtError.headerNotImplementedAlg;
  if (!isText(kid)) return JwtError.headerBadKid;
  const payloadBytes = decode(payloadText);
  if (payloadBytes === undefined) return JwtError.payloadBadBase64;
  const payload = parseObject(payloadBytes);
  if (payload === undefined) return JwtError.payloadBadJson;
  const { iss, sub, iat, nbf, exp, jti, aud } = payload;
  if (!isText(iss)) return JwtError.payloadIssNotString;
  if (!isText(sub)) return JwtError.payloadSubNotString;
  if (!isTime(iat)) return JwtError.payloadIatNotInteger;
  if (!isTime(nbf)) return JwtError.payloadNbfNotInteger;
  if (!isTime(exp)) return JwtError.payloadExpNotInteger;
  if (!isText(jti)) return JwtError.payloadJtiNotString;
  const audiences = audiencesOf(aud);
  if (audiences === undefined) return JwtError.payloadAudNotString;
  const signature = decode(signatureText);
  if (signature === undefined) return JwtError.signatureBadBase64;
  return {
    text,
    header,
    payload,
    payloadText,
    alg,
    kid: kid ?? '',
    issuer: iss ?? '',
    subject: sub ?? '',
    audiences,
    issuedAt: iat,
    notBefore: nbf,
    expires: exp,
    signed: `${headerText}.${payloadText}`,
    signature,
  };
}
