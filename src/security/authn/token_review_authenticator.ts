/** Authenticates by a service-account token that the cluster itself reviews (Kubernetes TokenReview). */
import { createHash } from 'node:crypto';
import type { KubeClient } from '#kube/client.ts';
import { apiResources, collectionPath } from '#kube/object.ts';
import { formatSpiffe } from '../spiffe.ts';
import { AuthenticationError, type Authenticator, type Caller, callerOf } from './authenticator.ts';
import { maxTokenChars } from './jwt_authenticator.ts';

/** What the server is asked, and what it answers. */
interface TokenReview {
  readonly apiVersion: 'authentication.k8s.io/v1';
  readonly kind: 'TokenReview';
  readonly metadata: { readonly name: string };
  readonly spec: { readonly token: string; readonly audiences: readonly string[] };
  readonly status?: TokenReviewStatus;
}

/** The answer. */
export interface TokenReviewStatus {
  readonly authenticated?: boolean;
  readonly error?: string;
  /** Those of the asked audiences that the token is for. */
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
}

/** How tokens are reviewed. */
export interface TokenReviewOptions {
  /** Asks the cluster. @throws Error when it does not answer. */
  readonly review: (token: string, audiences: readonly string[]) => Promise<TokenReviewStatus>;
  /** The token must be for one of these. Default `istio-ca` (`TOKEN_AUDIENCES`). */
  readonly audiences?: readonly string[];
  /** Of the identities made from tokens. */
  readonly trustDomain: string;
  /** How long an answer is believed: a token that is revoked works this much longer. Default 60 s. */
  readonly cacheMs?: number;
  /** Default 10 000. */
  readonly maxCached?: number;
  /** Reviews at one time; requests beyond are refused. Default 200. */
  readonly maxConcurrent?: number;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** How long a refusal is remembered. */
const refusalMs = 5000;

/** Asks an API server, which needs the right to create tokenreviews. */
export function reviewBy(client: KubeClient): TokenReviewOptions['review'] {
  return async (token, audiences) => {
    const review: TokenReview = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      metadata: { name: '' },
      spec: { token, audiences },
    };
    const answer = await client.request<TokenReview>({
      method: 'POST',
      path: collectionPath(apiResources.tokenReviews),
      body: review,
      // Nothing is kept of a review: asking twice does no harm.
      idempotent: true,
    });
    return answer.status ?? {};
  };
}

interface Claims {
  readonly exp?: unknown;
  readonly aud?: unknown;
}

/** Reads the claims without believing them: what is hopeless need not be asked. */
function readClaims(token: string): Claims {
  const [, payload, signature, ...rest] = token.split('.');
  if (payload === undefined || signature === undefined || signature === '' || rest.length > 0)
    throw new AuthenticationError('the token is no JWT');
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Claims | null;
    if (typeof claims === 'object' && claims !== null) return claims;
  } catch {
    // below
  }
  throw new AuthenticationError('the token is no JWT');
}

function callerFrom(status: TokenReviewStatus, audiences: readonly string[], trustDomain: string): Caller {
  if (status.authenticated !== true)
    throw new AuthenticationError(`the cluster refuses the token: ${status.error ?? 'not authenticated'}`);
  // A server that does not know audiences leaves them out: its answer then says nothing about ours.
  if (status.audiences?.some((audience) => audiences.includes(audience)) !== true)
    throw new AuthenticationError(`the token is for none of ${audiences.join(', ')}`);
  const [system, kind, namespace = '', serviceAccount = '', ...rest] = (status.user?.username ?? '').split(
    ':',
  );
  if (system !== 'system' || kind !== 'serviceaccount' || rest.length > 0)
    throw new AuthenticationError('the token is of no service account');
  let uri: string;
  try {
    uri = formatSpiffe({ trustDomain, namespace, serviceAccount });
  } catch (error) {
    throw new AuthenticationError('the account gives no SPIFFE identity', { cause: error });
  }
  const [podName] = status.user?.extra?.['authentication.kubernetes.io/pod-name'] ?? [];
  return callerOf(uri, 'jwt', podName);
}

interface Cached {
  readonly until: number;
  readonly caller?: Caller;
  readonly refusal?: AuthenticationError;
}

/** Accepts tokens that the cluster accepts for one of the audiences. Answers are remembered by the token's hash. */
export function tokenReviewAuthenticator(options: TokenReviewOptions): Authenticator {
  const { review, trustDomain, now = Date.now, cacheMs = 60_000 } = options;
  const { maxCached = 10_000, maxConcurrent = 200 } = options;
  const audiences = options.audiences ?? ['istio-ca'];
  const cache = new Map<string, Cached>();
  const running = new Map<string, Promise<Cached>>();

  function remember(key: string, entry: Cached): void {
    const [oldest] = cache.keys();
    if (cache.size >= maxCached && oldest !== undefined) cache.delete(oldest);
    cache.set(key, entry);
  }

  async function ask(key: string, token: string, endsMs: number): Promise<Cached> {
    let status: TokenReviewStatus;
    try {
      status = await review(token, audiences);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new AuthenticationError(`the cluster did not review the token: ${reason}`, { cause: error });
    }
    let entry: Cached;
    try {
      const caller = callerFrom(status, audiences, trustDomain);
      entry = { until: Math.min(now() + cacheMs, endsMs), caller };
    } catch (error) {
      if (!(error instanceof AuthenticationError)) throw error;
      entry = { until: now() + refusalMs, refusal: error };
    }
    remember(key, entry);
    return entry;
  }

  return {
    name: 'token_review',
    async authenticate(request) {
      const header = request.header('authorization');
      if (header === undefined || !/^bearer /i.test(header)) return null;
      const token = header.slice(7).trim();
      if (token.length > maxTokenChars) throw new AuthenticationError('the token is too long');
      const { exp, aud } = readClaims(token);
      const endsMs = typeof exp === 'number' ? exp * 1000 : Number.POSITIVE_INFINITY;
      if (endsMs <= now()) throw new AuthenticationError('the token has ended');
      if (Array.isArray(aud) && !aud.some((audience) => audiences.includes(String(audience))))
        throw new AuthenticationError(`the token is for none of ${audiences.join(', ')}`);
      const key = createHash('sha256').update(token).digest('base64');
      let entry = cache.get(key);
      if (entry === undefined || entry.until <= now()) {
        cache.delete(key);
        let asked = running.get(key);
        if (asked === undefined) {
          if (running.size >= maxConcurrent)
            throw new AuthenticationError('too many tokens are being reviewed');
          asked = ask(key, token, endsMs).finally(() => running.delete(key));
          running.set(key, asked);
        }
        entry = await asked;
      }
      if (entry.caller === undefined) throw entry.refusal ?? new AuthenticationError('refused');
      return entry.caller;
    },
  };
}
