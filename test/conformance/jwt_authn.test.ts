/** Request authentication (envoy.extensions.filters.http.jwt_authn.v3): features.md 7.4, the data plane's part. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { conformance, type Run } from '../harness/conformance.ts';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const keySet = JSON.stringify({
  keys: [
    { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa-1', alg: 'RS256', use: 'sig' },
    { ...ec.publicKey.export({ format: 'jwk' }), kid: 'ec-1' },
    { kty: 'unknown', kid: 'x' },
  ],
});

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

interface TokenOptions {
  readonly header?: object;
  readonly key?: typeof rsa.privateKey;
}

function token(payload: object, { header = {}, key = rsa.privateKey }: TokenOptions = {}): string {
  const signed = `${part({ alg: 'RS256', kid: 'rsa-1', typ: 'JWT', ...header })}.${part(payload)}`;
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

const now = (): number => Math.floor(Date.now() / 1000);
const local = (more: object = {}): object => ({ iss: 'local-issuer', aud: 'bookinfo', sub: 'ann', ...more });
const remote = (more: object = {}): object => ({ iss: 'remote-issuer', sub: 'bob', ...more });
const bearer = (text: string): { headers: Record<string, string> } => ({
  headers: { authorization: `Bearer ${text}` },
});

let server: Server | undefined;
let keyRequests: string[] = [];

/** Status and body, and whether the challenge says that a token was bad. */
async function verdict(run: Run, path: string, text?: string): Promise<[number, string, string | undefined]> {
  const answer = await run.get(path, text === undefined ? {} : bearer(text));
  const challenge = answer.headers['www-authenticate']?.replace(/realm="[^"]*"/, 'realm');
  return [answer.status, answer.status === 200 ? '' : answer.body, challenge];
}

const bad = 'Bearer realm, error="invalid_token"';

conformance(import.meta.filename, {
  rows: ['7.4'],
  async setUp(directory) {
    writeFileSync(join(directory, 'jwks.json'), keySet);
    keyRequests = [];
    const keys = createServer((request, response) => {
      keyRequests.push(`${request.headers.host} ${request.url}`);
      response.end(keySet);
    });
    server = keys;
    keys.listen(0, '127.0.0.1');
    await once(keys, 'listening');
    return { keys: String((keys.address() as AddressInfo).port) };
  },
  async tearDown() {
    server?.closeAllConnections();
    server?.close();
  },
  cases: {
    'a good token passes, its claims become headers, and it is taken away': async (run) => {
      const payload = local({ level: 7, admin: true, nested: { name: 'deep' }, scope: 'read write' });
      const answer = await run.get('/local', {
        headers: { authorization: `Bearer ${token(payload)}`, 'x-sub': 'forged' },
      });
      assert.equal(answer.status, 200, answer.body);
      const { headers } = answer.echo();
      assert.equal(headers['authorization'], undefined);
      assert.equal(headers['x-jwt-payload'], part(payload));
      assert.equal(headers['x-sub'], 'ann');
      assert.equal(headers['x-level'], '7');
      assert.equal(headers['x-admin'], 'true');
      assert.equal(headers['x-nested'], 'deep');
      assert.deepEqual(JSON.parse(Buffer.from(headers['x-object'] ?? '', 'base64').toString()), {
        name: 'deep',
      });
      const lines = await run.lines('access.log', 1);
      assert.match(lines.at(-1) ?? '', /200 - via_upstream \["read","write"\]/);
    },
    'an elliptic curve key, no kid, a second audience': async (run) => {
      const es = token(local({ aud: ['x', 'plain'] }), {
        header: { alg: 'ES256', kid: 'ec-1' },
        key: ec.privateKey,
      });
      assert.deepEqual(await verdict(run, '/local', es), [200, '', undefined]);
      assert.deepEqual(await verdict(run, '/local', token(local(), { header: { kid: undefined } })), [
        200,
        '',
        undefined,
      ]);
    },
    'what is wrong with a token': async (run) => {
      const good = token(local());
      const [header = '', payload = '', signature = ''] = good.split('.');
      const cases: [string, string | undefined, number, string, string | undefined][] = [
        ['none', undefined, 401, 'Jwt is missing', 'Bearer realm'],
        [
          'two parts',
          `${header}.${payload}`,
          401,
          'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
          bad,
        ],
        ['header of no JSON', `bm8.${payload}.${signature}`, 401, 'Jwt header is an invalid JSON', bad],
        [
          'no algorithm',
          `${part({})}.${payload}.${signature}`,
          401,
          'Jwt header [alg] field is required and must be a string',
          bad,
        ],
        [
          'no signature',
          `${header}.${payload}.`,
          401,
          'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
          bad,
        ],
        [
          'alg none',
          `${part({ alg: 'none' })}.${payload}.${signature}`,
          401,
          'Jwt header [alg] is not supported',
          bad,
        ],
        ['payload of no JSON', `${header}.bm8.${signature}`, 401, 'Jwt payload is an invalid JSON', bad],
        ['other issuer', token(local({ iss: 'evil' })), 401, 'Jwt issuer is not configured', bad],
        ['expired', token(local({ exp: now() - 100 })), 401, 'Jwt is expired', bad],
        ['not yet', token(local({ nbf: now() + 100 })), 401, 'Jwt not yet valid', bad],
        ['audience', token(local({ aud: 'other' })), 403, 'Audiences in Jwt are not allowed', bad],
        ['stranger', token(local(), { key: stranger.privateKey }), 401, 'Jwt verification fails', bad],
        [
          'unknown kid',
          token(local(), { header: { kid: 'zzz' } }),
          401,
          "Jwks doesn't have key to match kid or alg from Jwt",
          bad,
        ],
        [
          'changed payload',
          `${header}.${part(local({ sub: 'eve' }))}.${signature}`,
          401,
          'Jwt verification fails',
          bad,
        ],
      ];
      for (const [name, text, status, body, challenge] of cases)
        assert.deepEqual(await verdict(run, '/local', text), [status, body, challenge], name);
    },
    'within the clock skew': async (run) => {
      assert.equal((await verdict(run, '/local', token(local({ exp: now() - 20 }))))[0], 200);
      assert.equal((await verdict(run, '/local', token(local({ nbf: now() + 20 }))))[0], 200);
    },
    'the log names the reason': async (run) => {
      await run.get('/local?who=log');
      assert.match(
        await run.lineWith('access.log', '?who=log '),
        /401 - jwt_authn_access_denied\{Jwt_is_missing\} -$/,
      );
    },
    'all places of a provider': async (run) => {
      const text = token(remote());
      const places: [string, Record<string, string>][] = [
        ['/remote', { 'x-token': `Token ${text}` }],
        ['/remote', { 'x-bare': text }],
        [`/remote?a=1&token=${text}`, {}],
        ['/remote', { cookie: `a=b; session=${text}` }],
      ];
      for (const [path, headers] of places) {
        const answer = await run.get(path, { headers });
        assert.equal(answer.status, 200, `${path} ${JSON.stringify(headers)} ${answer.body}`);
        assert.equal(answer.echo().path, path, 'forwarded');
      }
      assert.equal((await run.get('/remote', bearer(text))).status, 401, 'a place that is not named');
    },
    'keys of a server are fetched once': async () => {
      assert.deepEqual(keyRequests, ['keys.test /jwks?v=1']);
    },
    'a server without keys': async (run) => {
      const answer = await verdict(run, '/dead', token({ iss: 'dead-issuer' }));
      assert.deepEqual(answer, [401, 'Jwks remote fetch is failed', bad]);
    },
    'the token of a query goes too': async (run) => {
      const text = token(local());
      const answer = await run.get(`/local?a=1&access_token=${text}&b=2`);
      assert.equal(answer.status, 200);
      assert.equal(answer.echo().path, '/local?a=1&b=2');
    },
    'audiences of the rule': async (run) => {
      assert.equal((await verdict(run, '/audience', token(local())))[0], 403);
      assert.equal((await verdict(run, '/audience', token(local({ aud: 'other' }))))[0], 200);
    },
    'any of two': async (run) => {
      assert.equal((await verdict(run, '/any', token(local())))[0], 200);
      assert.equal((await run.get('/any', { headers: { 'x-bare': token(remote()) } })).status, 200);
      assert.deepEqual(await verdict(run, '/any'), [401, 'Jwt is missing', 'Bearer realm']);
      assert.deepEqual(await verdict(run, '/any', token(local({ exp: 1 }))), [401, 'Jwt is expired', bad]);
      assert.deepEqual(await verdict(run, '/any', token(local({ iss: 'evil' }))), [
        401,
        'Jwt issuer is not configured',
        bad,
      ]);
    },
    'both of two': async (run) => {
      const both = { authorization: `Bearer ${token(local())}`, 'x-bare': token(remote()) };
      assert.equal((await run.get('/all', { headers: both })).status, 200);
      assert.deepEqual(await verdict(run, '/all', token(local())), [401, 'Jwt is missing', 'Bearer realm']);
    },
    "Istio's form: a token may be missing but not be wrong": async (run) => {
      assert.equal((await verdict(run, '/istio'))[0], 200);
      assert.equal((await verdict(run, '/istio', token(local())))[0], 200);
      assert.deepEqual(await verdict(run, '/istio', token(local({ exp: 1 }))), [401, 'Jwt is expired', bad]);
      assert.deepEqual(await verdict(run, '/istio', token(local({ iss: 'evil' }))), [
        401,
        'Jwt issuer is not configured',
        bad,
      ]);
    },
    'missing is allowed, alone': async (run) => {
      assert.equal((await verdict(run, '/missing'))[0], 200);
      assert.equal((await verdict(run, '/missing', token(local())))[0], 200);
      assert.deepEqual(await verdict(run, '/missing', token(local({ iss: 'evil' }))), [
        401,
        'Jwt issuer is not configured',
        bad,
      ]);
      assert.deepEqual(await verdict(run, '/missing', token(local({ exp: 1 }))), [
        401,
        'Jwt is expired',
        bad,
      ]);
    },
    'failed is allowed, alone': async (run) => {
      for (const text of [undefined, 'x', token(local({ exp: 1 })), token(local({ iss: 'evil' }))])
        assert.equal((await verdict(run, '/failed', text))[0], 200);
      assert.equal((await run.get('/failed', bearer(token(local())))).echo().headers['x-sub'], 'ann');
    },
    'rules, routes and preflights': async (run) => {
      assert.equal((await verdict(run, '/open'))[0], 200);
      assert.equal((await verdict(run, '/unlisted'))[0], 200);
      assert.equal((await verdict(run, '/name'))[0], 401);
      assert.equal((await verdict(run, '/route-off'))[0], 200);
      assert.equal((await verdict(run, '/route-named'))[0], 401);
      assert.deepEqual((await verdict(run, '/route-wrong')).slice(0, 2), [
        403,
        'Failed JWT authentication: Wrong requirement_name: nobody. It should be one of [local]',
      ]);
      const preflight = await run.get('/local', {
        method: 'OPTIONS',
        headers: { origin: 'http://a.test', 'access-control-request-method': 'GET' },
      });
      assert.equal(preflight.status, 200);
      assert.equal(await run.stat('http.in.jwt_authn.cors_preflight_bypassed'), 1);
    },
    counters: async (run) => {
      assert.ok((await run.stat('http.in.jwt_authn.allowed')) > 5);
      assert.ok((await run.stat('http.in.jwt_authn.denied')) > 5);
      assert.equal(await run.stat('http.in.jwt_authn.jwks_fetch_success'), 1);
      assert.equal(await run.stat('http.in.jwt_authn.jwks_fetch_failed'), 1);
    },
  },
});
