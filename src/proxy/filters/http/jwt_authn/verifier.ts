/** What a request must show (envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement), compiled. */
import type { JwtRequirement } from '#api/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { findTokens, type FoundToken, type Location } from './extract.ts';
import { plainAudience, type Provider } from './provider.ts';
import { type Jwt, JwtError } from './token.ts';

/** A request while it is verified. */
export interface Verification {
  readonly headers: RequestHeaderMap;
  readonly info: StreamInfo;
  /** Seconds since the epoch. */
  readonly nowSeconds: number;
  /** The request is gone: nothing is done with it any more. */
  cancelled: boolean;
  /** A provider that was satisfied wants the route chosen anew. */
  clearRouteCache: boolean;
}

/** Calls `onDone` once, maybe at once, with what is wrong or undefined. */
export type Verifier = (request: Verification, onDone: (error: JwtError | undefined) => void) => void;

/** The provider of a token; an error when there is none. */
type ChooseProvider = (jwt: Jwt) => Provider | undefined;

function checkToken(
  request: Verification,
  found: FoundToken,
  jwt: Jwt | JwtError,
  choose: ChooseProvider,
  audiences: ReadonlySet<string> | undefined,
  onDone: (error: JwtError | undefined) => void,
): void {
  if (typeof jwt === 'string') return onDone(jwt);
  const provider = choose(jwt);
  if (provider === undefined) return onDone(JwtError.unknownIssuer);
  const wrong = provider.checkClaims(jwt, audiences, request.nowSeconds);
  if (wrong !== undefined) return onDone(wrong);
  provider.keys.get((keys) => {
    if (request.cancelled) return;
    if (keys === undefined) return onDone(JwtError.jwksFetchFail);
    const error = provider.checkSignature(jwt, keys);
    if (error === undefined) {
      provider.accept(jwt, found, request.headers, request.info);
      if (provider.clearRouteCache) request.clearRouteCache = true;
    }
    onDone(error);
  });
}

/** All tokens one after the other. @param tolerant goes on after one that is wrong, and forgets it. */
function checkTokens(
  request: Verification,
  tokens: readonly FoundToken[],
  check: (found: FoundToken, onDone: (error: JwtError | undefined) => void) => void,
  tolerant: boolean,
  onDone: (error: JwtError | undefined) => void,
): void {
  const next = (index: number): void => {
    const found = tokens[index];
    if (found === undefined || request.cancelled) {
      if (!request.cancelled) onDone(undefined);
      return;
    }
    check(found, (error) => {
      if (error !== undefined && !tolerant) onDone(error);
      else next(index + 1);
    });
  };
  next(0);
}

function byProvider(provider: Provider, audiences: ReadonlySet<string> | undefined): Verifier {
  const choose = (): Provider => provider;
  return (request, onDone) => {
    const tokens = findTokens(request.headers, provider.locations);
    if (tokens.length === 0) return onDone(JwtError.missing);
    checkTokens(
      request,
      tokens,
      (found, done) => checkToken(request, found, provider.parse(found.text), choose, audiences, done),
      false,
      onDone,
    );
  };
}

/** Tokens of any provider, known by their issuer; none is fine. */
function byIssuer(providers: ReadonlyMap<string, Provider>, tolerant: boolean): Verifier {
  const all = [...providers.values()];
  const places = new Map<string, Location>();
  for (const { locations } of all)
    for (const location of locations) places.set(JSON.stringify(location), location);
  const locations = [...places.values()];
  const choose: ChooseProvider = (jwt) =>
    all.find(({ issuer }) => issuer === jwt.issuer) ?? all.find(({ issuer }) => issuer === '');
  const parse = (text: string): Jwt | JwtError => {
    for (const provider of all) {
      const known = provider.known(text);
      if (known !== undefined) return known;
    }
    return (all[0] as Provider).parse(text);
  };
  return (request, onDone) => {
    if (all.length === 0) return onDone(undefined);
    checkTokens(
      request,
      findTokens(request.headers, locations),
      (found, done) => checkToken(request, found, parse(found.text), choose, undefined, done),
      tolerant,
      onDone,
    );
  };
}

function requiresAll(verifiers: readonly Verifier[]): Verifier {
  return (request, onDone) => {
    const next = (index: number): void => {
      const verifier = verifiers[index];
      if (verifier === undefined) return onDone(undefined);
      verifier(request, (error) => (error === undefined ? next(index + 1) : onDone(error)));
    };
    next(0);
  };
}

/** What is forgiven when no requirement of a list is met. */
type Forgiven = 'nothing' | 'missing' | 'all';

function isAbsence(error: JwtError): boolean {
  return error === JwtError.missing || error === JwtError.unknownIssuer;
}

function requiresAny(verifiers: readonly Verifier[], forgiven: Forgiven): Verifier {
  return (request, onDone) => {
    let worst: JwtError | undefined;
    const next = (index: number): void => {
      const verifier = verifiers[index];
      if (verifier === undefined) {
        const error = worst ?? JwtError.missing;
        const passes = forgiven === 'all' || (forgiven === 'missing' && error === JwtError.missing);
        return onDone(passes ? undefined : error);
      }
      verifier(request, (error) => {
        if (error === undefined) return onDone(undefined);
        // A token that is wrong tells more than one that is not there or of somebody else.
        if (worst === undefined || !isAbsence(error) || (isAbsence(worst) && worst === JwtError.missing))
          worst = error;
        next(index + 1);
      });
    };
    next(0);
  };
}

function named(providers: ReadonlyMap<string, Provider>, name: string): Provider {
  const provider = providers.get(name);
  if (provider === undefined)
    throw new Error(`provider_name ${JSON.stringify(name)} is not among the providers`);
  return provider;
}

/** @throws Error that names what cannot be used. Undefined: nothing is required. */
export function compileRequirement(
  requirement: JwtRequirement | undefined,
  providers: ReadonlyMap<string, Provider>,
): Verifier | undefined {
  const type = requirement?.requiresType;
  switch (type?.case) {
    case undefined:
      return undefined;
    case 'providerName':
      return byProvider(named(providers, type.value), undefined);
    case 'providerAndAudiences': {
      const { providerName, audiences } = type.value;
      return byProvider(
        named(providers, providerName),
        audiences.length === 0 ? undefined : new Set(audiences.map(plainAudience)),
      );
    }
    case 'requiresAll':
      return requiresAll(type.value.requirements.flatMap((one) => compileRequirement(one, providers) ?? []));
    case 'requiresAny': {
      const { requirements } = type.value;
      const cases = requirements.map(({ requiresType }) => requiresType.case);
      const verifiers = requirements
        .filter((_, i) => cases[i] !== 'allowMissing' && cases[i] !== 'allowMissingOrFailed')
        .flatMap((one) => compileRequirement(one, providers) ?? []);
      const forgiven = cases.includes('allowMissingOrFailed')
        ? 'all'
        : cases.includes('allowMissing')
          ? 'missing'
          : 'nothing';
      return requiresAny(verifiers, forgiven);
    }
    case 'allowMissing':
      return byIssuer(providers, false);
    case 'allowMissingOrFailed':
      return byIssuer(providers, true);
    case 'extractOnlyWithoutValidation':
      throw new Error('extract_only_without_validation is not implemented');
  }
}
