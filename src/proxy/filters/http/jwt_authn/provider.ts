/** One issuer of tokens (envoy.extensions.filters.http.jwt_authn.v3.JwtProvider): whom it accepts, and what it leaves behind. */
import type { JwtProvider } from '#api/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { compileStringMatcher, type StringPredicate } from '../../../http/string_matcher.ts';
import { durationMs } from '../../../network/duration.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { type FoundToken, type Location, locationsOf, removeToken } from './extract.ts';
import type { Jwks } from './jwks.ts';
import type { KeySource } from './key_source.ts';
import { type Jwt, JwtError, parseJwt } from './token.ts';

/** Namespace of what tokens leave in dynamic metadata. */
export const jwtAuthnName = 'envoy.filters.http.jwt_authn';

const defaultClockSkewSeconds = 60;
/** Defaults of `jwt_cache_config`. */
const defaultCacheSize = 100;
const defaultMaxCachedToken = 4096;

/** Tokens that were verified lately: the signature of a token does not change while the keys stay. */
class VerifiedTokens {
  readonly #size: number;
  readonly #maxLength: number;
  #keys: Jwks | undefined = undefined;
  readonly #tokens = new Map<string, Jwt>();

  constructor(size: number, maxLength: number) {
    this.#size = size;
    this.#maxLength = maxLength;
  }

  find(text: string, keys: Jwks): Jwt | undefined {
    if (keys !== this.#keys) {
      this.#keys = keys;
      this.#tokens.clear();
    }
    return this.#tokens.get(text);
  }

  add(jwt: Jwt): void {
    if (jwt.text.length > this.#maxLength) return;
    const [oldest] = this.#tokens.size >= this.#size ? this.#tokens.keys() : [];
    if (oldest !== undefined) this.#tokens.delete(oldest);
    this.#tokens.set(jwt.text, jwt);
  }
}

/** Audiences are compared without scheme and closing slash. */
export function plainAudience(audience: string): string {
  return audience.replace(/^https?:\/\//, '').replace(/\/$/, '');
}

/** The value at a path of claims; undefined when there is none. */
function claimAt(payload: Jwt['payload'], path: readonly string[]): unknown {
  let value: unknown = payload;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function headerText(claim: unknown): string | undefined {
  if (claim === undefined || claim === null) return undefined;
  if (typeof claim === 'object') return Buffer.from(JSON.stringify(claim)).toString('base64url');
  const text = String(claim);
  // A claim must not make a header of its own.
  return /[\r\n\0]/.test(text) ? undefined : text;
}

export class Provider {
  readonly name: string;
  readonly issuer: string;
  readonly locations: readonly Location[];
  readonly clearRouteCache: boolean;
  /** Headers that only this filter may write, lower case. */
  readonly ownHeaders: readonly string[];
  readonly keys: KeySource;
  readonly #proto: JwtProvider;
  readonly #audiences: ReadonlySet<string>;
  readonly #subject: StringPredicate | undefined;
  readonly #skewSeconds: number;
  readonly #maxLifetimeSeconds: number | undefined;
  readonly #claims: readonly (readonly [header: string, path: readonly string[]])[];
  readonly #verified: VerifiedTokens;

  /** @throws Error that names the field which cannot be used. */
  constructor(name: string, proto: JwtProvider, keys: KeySource) {
    if (proto.failedStatusInMetadata !== '') throw new Error('failed_status_in_metadata is not implemented');
    this.name = name;
    this.issuer = proto.issuer;
    this.locations = locationsOf(proto);
    this.clearRouteCache = proto.clearRouteCache;
    this.keys = keys;
    this.#proto = proto;
    this.#audiences = new Set(proto.audiences.map(plainAudience));
    this.#subject = proto.subjects === undefined ? undefined : compileStringMatcher(proto.subjects);
    this.#skewSeconds = proto.clockSkewSeconds === 0 ? defaultClockSkewSeconds : proto.clockSkewSeconds;
    const lifetime = durationMs(proto.maxLifetime);
    this.#maxLifetimeSeconds = lifetime === undefined ? undefined : lifetime / 1000;
    this.#claims = proto.claimToHeaders.map(
      ({ headerName, claimName, claimPath }) =>
        [
          headerName.toLowerCase(),
          claimPath.length > 0 ? claimPath.map(({ key }) => key) : claimName.split('.'),
        ] as const,
    );
    this.ownHeaders = [
      ...(proto.forwardPayloadHeader === '' ? [] : [proto.forwardPayloadHeader.toLowerCase()]),
      ...this.#claims.map(([header]) => header),
    ];
    this.#verified = new VerifiedTokens(
      proto.jwtCacheConfig?.jwtCacheSize || defaultCacheSize,
      proto.jwtCacheConfig?.jwtMaxTokenSize || defaultMaxCachedToken,
    );
  }

  /** A token that was verified before with the keys of now. */
  known(text: string): Jwt | undefined {
    const keys = this.keys.current();
    return keys === undefined ? undefined : this.#verified.find(text, keys);
  }

  parse(text: string): Jwt | JwtError {
    return this.known(text) ?? parseJwt(text);
  }

  /** Everything but the signature. @param nowSeconds since the epoch. */
  checkClaims(
    jwt: Jwt,
    audiences: ReadonlySet<string> | undefined,
    nowSeconds: number,
  ): JwtError | undefined {
    if (this.issuer !== '' && jwt.issuer !== this.issuer) return JwtError.unknownIssuer;
    if (this.#subject !== undefined && !this.#subject(jwt.subject)) return JwtError.subjectNotAllowed;
    const { expires, notBefore, issuedAt } = jwt;
    if (this.#proto.requireExpiration && expires === undefined) return JwtError.missingExpiration;
    if (this.#maxLifetimeSeconds !== undefined) {
      const from = issuedAt ?? nowSeconds;
      if (expires === undefined || expires - from > this.#maxLifetimeSeconds) return JwtError.lifetimeTooLong;
    }
    if (notBefore !== undefined && nowSeconds + this.#skewSeconds < notBefore) return JwtError.notYetValid;
    if (expires !== undefined && nowSeconds > expires + this.#skewSeconds) return JwtError.expired;
    const allowed = audiences ?? this.#audiences;
    if (allowed.size > 0 && !jwt.audiences.some((audience) => allowed.has(plainAudience(audience))))
      return JwtError.audienceNotAllowed;
    return undefined;
  }

  checkSignature(jwt: Jwt, keys: Jwks): JwtError | undefined {
    if (this.#verified.find(jwt.text, keys) !== undefined) return undefined;
    const error = keys.verify(jwt);
    if (error === undefined) this.#verified.add(jwt);
    return error;
  }

  /** Headers and metadata of a verified token; takes the token away unless it is forwarded. */
  accept(jwt: Jwt, { location }: FoundToken, headers: RequestHeaderMap, info: StreamInfo): void {
    const { forwardPayloadHeader, padForwardPayloadHeader, payloadInMetadata, headerInMetadata } =
      this.#proto;
    if (forwardPayloadHeader !== '') {
      const padding = padForwardPayloadHeader ? '='.repeat((4 - (jwt.payloadText.length % 4)) % 4) : '';
      headers.set(forwardPayloadHeader.toLowerCase(), jwt.payloadText + padding);
    }
    for (const [header, path] of this.#claims) {
      const value = headerText(claimAt(jwt.payload, path));
      if (value !== undefined) headers.set(header, value);
    }
    if (!this.#proto.forward) removeToken(headers, location);
    if (payloadInMetadata !== '')
      info.setDynamicMetadata(jwtAuthnName, { [payloadInMetadata]: this.#normalized(jwt.payload) });
    if (headerInMetadata !== '') info.setDynamicMetadata(jwtAuthnName, { [headerInMetadata]: jwt.header });
  }

  /** `normalize_payload_in_metadata`: claims of words become lists. */
  #normalized(payload: Jwt['payload']): Jwt['payload'] {
    const claims = this.#proto.normalizePayloadInMetadata?.spaceDelimitedClaims ?? [];
    if (claims.length === 0) return payload;
    const changed: Record<string, unknown> = { ...payload };
    for (const claim of claims) {
      const value = changed[claim];
      if (typeof value === 'string') changed[claim] = value.split(' ').filter((word) => word !== '');
    }
    return changed;
  }
}
