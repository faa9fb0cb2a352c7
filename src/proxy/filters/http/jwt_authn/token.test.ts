import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { RequestHeaderMap } from '../../../http/header_map.ts';
import { findTokens, removeToken } from './extract.ts';
import { Jwks } from './jwks.ts';
import { JwtError, parseJwt } from './token.ts';

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

test('whatever comes is a token or a known error', () => {
  const errors = new Set<unknown>(Object.values(JwtError));
  const check = (text: string): void => {
    const jwt = parseJwt(text);
    if (typeof jwt === 'string') assert.ok(errors.has(jwt));
    else assert.equal(jwt.text, text);
  };
  fc.assert(fc.property(fc.string(), check));
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 8 }), { maxLength: 5 }), (parts) => check(parts.join('.'))),
  );
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (header, payload) =>
      check(`${part(header)}.${part(payload)}.AAAA`),
    ),
  );
  const good = `${part({ alg: 'RS256' })}.${part({ iss: 'a' })}.AAAA`;
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, char) =>
      check(good.slice(0, at) + char + good.slice(at + 1)),
    ),
  );
  assert.equal(parseJwt('a.'.repeat(100_000)), JwtError.badFormat);
});

test('a symmetric key, and bits of its signature', () => {
  const secret = Buffer.from('0123456789abcdef0123456789abcdef');
  const keys = new Jwks(JSON.stringify({ keys: [{ kty: 'oct', k: secret.toString('base64url') }] }));
  const signed = `${part({ alg: 'HS256' })}.${part({ iss: 'a' })}`;
  const signature = createHmac('sha256', secret).update(signed).digest();
  const verdict = (bytes: Buffer): unknown => {
    const jwt = parseJwt(`${signed}.${bytes.toString('base64url')}`);
    assert.ok(typeof jwt !== 'string');
    return keys.verify(jwt);
  };
  assert.equal(verdict(signature), undefined);
  for (let bit = 0; bit < 256; bit++) {
    const wrong = Buffer.from(signature);
    wrong[bit >> 3] = (wrong[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.equal(verdict(wrong), JwtError.verificationFail);
  }
  assert.equal(verdict(signature.subarray(1)), JwtError.verificationFail);
});

test('a public key does not serve as a secret', () => {
  const jwk = { kty: 'RSA', n: 'sXch', e: 'AQAB', kid: 'k' };
  const keys = new Jwks(JSON.stringify({ keys: [jwk] }));
  const jwt = parseJwt(`${part({ alg: 'HS256', kid: 'k' })}.${part({})}.AAAA`);
  assert.ok(typeof jwt !== 'string');
  assert.equal(keys.verify(jwt), JwtError.jwksKidAlgMismatch);
});

test('key sets that are none', () => {
  for (const text of ['', '[]', '{}', '{"keys":1}', '{"keys":[]}', '{"keys":[{"kty":"none"},null,1]}'])
    assert.throws(() => new Jwks(text), Error, text);
});

test('tokens are found and taken away', () => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^([a-s]{1,3}=[a-z%]{0,5}&?){0,4}$/),
      fc.stringMatching(/^[A-Za-z0-9_.-]{1,20}$/),
      (query, token) => {
        const headers = new RequestHeaderMap();
        headers.path = `/p?${query}&t=${token}`;
        const location = { kind: 'param', name: 't' } as const;
        assert.equal(findTokens(headers, [location])[0]?.text, token);
        removeToken(headers, location);
        assert.equal(headers.path, `/p?${query}`);
      },
    ),
  );
});
