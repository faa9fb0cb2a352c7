import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AuthenticationError, type AuthenticationRequest } from './authenticator.ts';
import { type TokenReviewStatus, tokenReviewAuthenticator } from './token_review_authenticator.ts';

function token(claims: object, signature = 'sig'): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'RS256' })}.${part(claims)}.${signature}`;
}

function request(authorization: string | undefined): AuthenticationRequest {
  return {
    header: (name) => (name === 'authorization' ? authorization : undefined),
    connection: { encrypted: true, remoteAddress: '10.0.0.1', peerIntermediates: [], peerAuthorized: false },
  };
}

const good: TokenReviewStatus = {
  authenticated: true,
  audiences: ['istio-ca'],
  user: {
    username: 'system:serviceaccount:apps:web',
    extra: { 'authentication.kubernetes.io/pod-name': ['web-1'] },
  },
};

function authenticator(
  answer: TokenReviewStatus | Error | (() => Promise<TokenReviewStatus>),
  more: object = {},
) {
  const asked: string[] = [];
  const clock = { now: 1_000_000 };
  const { authenticate } = tokenReviewAuthenticator({
    trustDomain: 'cluster.local',
    now: () => clock.now,
    review: async (text) => {
      asked.push(text);
      if (answer instanceof Error) throw answer;
      return typeof answer === 'function' ? await answer() : answer;
    },
    ...more,
  });
  return { ask: (text?: string) => authenticate(request(text && `Bearer ${text}`)), asked, clock };
}

test('the caller of a token, asked once until the answer is old', async () => {
  const { ask, asked, clock } = authenticator(good);
  const mine = token({ exp: 2000, aud: ['istio-ca'] });
  const [first] = await Promise.all([ask(mine), ask(mine)]);
  assert.deepEqual(first, {
    identities: ['spiffe://cluster.local/ns/apps/sa/web'],
    namespace: 'apps',
    serviceAccount: 'web',
    source: 'jwt',
    podName: 'web-1',
  });
  clock.now += 59_000;
  await ask(mine);
  assert.equal(asked.length, 1);
  clock.now += 2000;
  await ask(mine);
  assert.equal(asked.length, 2);
  assert.equal(await ask(), null);
});

test('a cached token ends with its exp', async () => {
  const { ask, clock } = authenticator(good);
  const mine = token({ exp: 1010 });
  await ask(mine);
  clock.now += 11_000;
  await assert.rejects(ask(mine), /has ended/);
});

test('hopeless tokens are refused without a question', async () => {
  const { ask, asked } = authenticator(good);
  for (const [text, message] of [
    ['abc', /no JWT/],
    ['a.b.', /no JWT/],
    ['a.b.c', /no JWT/],
    [token({ exp: 1 }), /has ended/],
    [token({ exp: 2000, aud: ['api'] }), /for none of istio-ca/],
    ['x'.repeat(20_000), /too long/],
  ] as const) {
    await assert.rejects(ask(text), message);
  }
  assert.equal(asked.length, 0);
});

test('what the cluster does not confirm is refused, and remembered for a moment', async () => {
  for (const [status, message] of [
    [{ authenticated: false, error: 'expired' }, /refuses the token: expired/],
    [{}, /refuses the token/],
    [{ ...good, audiences: undefined }, /for none of istio-ca/],
    [{ ...good, audiences: ['api'] }, /for none of istio-ca/],
    [{ ...good, user: { username: 'admin' } }, /no service account/],
    [{ ...good, user: { username: 'system:serviceaccount:apps:web:more' } }, /no service account/],
    [{ ...good, user: { username: 'system:serviceaccount::web' } }, /no SPIFFE identity/],
  ] as const) {
    const { ask, asked, clock } = authenticator(status as TokenReviewStatus);
    await assert.rejects(ask(token({})), message);
    await assert.rejects(ask(token({})), AuthenticationError);
    assert.equal(asked.length, 1);
    clock.now += 6000;
    await assert.rejects(ask(token({})), AuthenticationError);
    assert.equal(asked.length, 2);
  }
});

test('a cluster that does not answer is asked again at the next request', async () => {
  const { ask, asked } = authenticator(new Error('down'));
  await assert.rejects(ask(token({})), /did not review/);
  await assert.rejects(ask(token({})), /did not review/);
  assert.equal(asked.length, 2);
});

test('the cache and the reviews at one time are bounded', async () => {
  const small = authenticator(good, { maxCached: 2 });
  for (const name of ['a', 'b', 'c', 'c', 'a']) await small.ask(token({}, name));
  assert.equal(small.asked.length, 4);
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const busy = authenticator(() => gate.then(() => good), { maxConcurrent: 2 });
  const pending = [busy.ask(token({}, 'a')), busy.ask(token({}, 'b'))];
  await assert.rejects(busy.ask(token({}, 'c')), /too many/);
  release();
  await Promise.all(pending);
});
