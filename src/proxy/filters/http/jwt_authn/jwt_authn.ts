/** `envoy.filters.http.jwt_authn`: lets requests pass whose tokens satisfy the rule that matches them. */
import type { Counter } from '#telemetry/metrics.ts';
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { type MatchInput, type MatchPredicate, pathOnly } from '../../../router/route_match.ts';
import { JwtError } from './token.ts';
import type { Verification, Verifier } from './verifier.ts';

export interface JwtStats {
  readonly allowed: Counter;
  readonly denied: Counter;
  readonly corsPreflightBypassed: Counter;
}

/** One rule: the first that matches decides; without a verifier it lets pass. */
export interface CompiledRule {
  readonly matches: MatchPredicate;
  readonly verifier: Verifier | undefined;
}

/** `PerRouteConfig`. */
export type JwtRouteConfig = { readonly disabled: true } | { readonly requirementName: string };

export interface JwtShared {
  readonly filterName: string;
  readonly rules: readonly CompiledRule[];
  readonly requirements: ReadonlyMap<string, Verifier | undefined>;
  readonly filterState:
    | { readonly name: string; readonly requirements: ReadonlyMap<string, Verifier | undefined> }
    | undefined;
  readonly bypassCorsPreflight: boolean;
  readonly stripFailureResponse: boolean;
  /** Headers that clients must not bring. */
  readonly ownHeaders: readonly string[];
  readonly stats: JwtStats;
  readonly random: () => number;
}

/** Longest address in the answer's realm, as in Envoy. */
const maxRealmLength = 256;

function isPreflight(headers: RequestHeaderMap): boolean {
  return (
    headers.method === 'OPTIONS' &&
    (headers.getFirst('origin') ?? '') !== '' &&
    (headers.getFirst('access-control-request-method') ?? '') !== ''
  );
}

export class JwtAuthnFilter implements HttpFilter, MatchInput {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: JwtShared;
  #verification: Verification | undefined = undefined;
  #waiting = false;
  // What rules look at.
  headers!: RequestHeaderMap;
  path = '';

  constructor(callbacks: FilterCallbacks, shared: JwtShared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
  }

  get tls(): MatchInput['tls'] {
    return this.#callbacks.streamInfo.connection.tls;
  }

  random(): number {
    return this.#shared.random();
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const { stats } = this.#shared;
    this.headers = headers;
    for (const name of this.#shared.ownHeaders) headers.remove(name);
    if (this.#shared.bypassCorsPreflight && isPreflight(headers)) {
      stats.corsPreflightBypassed.inc();
      return FilterStatus.continue;
    }
    const verifier = this.#findVerifier();
    if (typeof verifier === 'string') {
      this.#deny(403, verifier, false);
      return FilterStatus.stopIteration;
    }
    if (verifier === undefined) {
      stats.allowed.inc();
      return FilterStatus.continue;
    }
    const verification: Verification = {
      headers,
      info: this.#callbacks.streamInfo,
      nowSeconds: Date.now() / 1000,
      cancelled: false,
      clearRouteCache: false,
    };
    this.#verification = verification;
    let answered = false;
    let passed = false;
    verifier(verification, (error) => {
      answered = true;
      passed = this.#onVerified(error);
    });
    if (answered) return passed ? FilterStatus.continue : FilterStatus.stopIteration;
    this.#waiting = true;
    return FilterStatus.stopIteration;
  }

  decodeData(): FilterStatus {
    return this.#waiting ? FilterStatus.stopAndPause : FilterStatus.continue;
  }

  decodeTrailers(): FilterStatus {
    return this.#waiting ? FilterStatus.stopIteration : FilterStatus.continue;
  }

  onDestroy(): void {
    if (this.#verification !== undefined) this.#verification.cancelled = true;
  }

  /** The verifier, undefined for none, or why there can be none. */
  #findVerifier(): Verifier | undefined | string {
    const { filterName, requirements, rules, filterState } = this.#shared;
    const own = this.#callbacks.route()?.perFilterConfig(filterName) as JwtRouteConfig | undefined;
    if (own !== undefined) {
      if ('disabled' in own) return undefined;
      if (requirements.has(own.requirementName)) return requirements.get(own.requirementName);
      const known = [...requirements.keys()].join(',');
      return `Failed JWT authentication: Wrong requirement_name: ${own.requirementName}. It should be one of [${known}]`;
    }
    this.path = pathOnly(this.headers.path);
    for (const rule of rules) if (rule.matches(this)) return rule.verifier;
    if (filterState === undefined) return undefined;
    const value = this.#callbacks.streamInfo.filterState?.get(filterState.name);
    return typeof value === 'string' ? filterState.requirements.get(value) : undefined;
  }

  /** True when the request may go on. */
  #onVerified(error: JwtError | undefined): boolean {
    const { stats } = this.#shared;
    if (error === undefined) {
      stats.allowed.inc();
      if (this.#verification?.clearRouteCache === true) this.#callbacks.clearRouteCache();
      if (this.#waiting) {
        this.#waiting = false;
        this.#callbacks.continueDecoding();
      }
      return true;
    }
    stats.denied.inc();
    this.#waiting = false;
    this.#deny(error === JwtError.audienceNotAllowed ? 403 : 401, error, true);
    return false;
  }

  /** @param challenge tells the client to bring a token (RFC 6750 3). */
  #deny(status: number, reason: string, challenge: boolean): void {
    const { headers } = this;
    const strip = this.#shared.stripFailureResponse;
    const address = `${headers.scheme}://${headers.authority}${headers.path}`.slice(0, maxRealmLength);
    const hint = reason === JwtError.missing ? '' : ', error="invalid_token"';
    this.#callbacks.sendLocalReply({
      status,
      body: strip ? '' : reason,
      details: `jwt_authn_access_denied{${reason.replaceAll(' ', '_')}}`,
      flags: 0,
      ...(strip || !challenge
        ? {}
        : { headers: [['www-authenticate', `Bearer realm="${address.replaceAll(/["\\]/g, '')}"${hint}`]] }),
    });
  }
}
