import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatSpiffe, parseSpiffe } from './spiffe.ts';

test('an identity goes to its URI and back', () => {
  const identity = { trustDomain: 'cluster.local', namespace: 'default', serviceAccount: 'bookinfo-reviews' };
  assert.equal(formatSpiffe(identity), 'spiffe://cluster.local/ns/default/sa/bookinfo-reviews');
  assert.deepEqual(parseSpiffe(formatSpiffe(identity)), identity);
});

for (const [name, uri] of [
  ['another scheme', 'https://cluster.local/ns/a/sa/b'],
  ['upper case scheme', 'SPIFFE://cluster.local/ns/a/sa/b'],
  ['upper case trust domain', 'spiffe://Cluster.local/ns/a/sa/b'],
  ['no trust domain', 'spiffe:///ns/a/sa/b'],
  ['port in the trust domain', 'spiffe://cluster.local:80/ns/a/sa/b'],
  ['empty namespace', 'spiffe://cluster.local/ns//sa/b'],
  ['dot segment', 'spiffe://cluster.local/ns/../sa/b'],
  ['trailing slash', 'spiffe://cluster.local/ns/a/sa/b/'],
  ['a further segment', 'spiffe://cluster.local/ns/a/sa/b/c'],
  ['query', 'spiffe://cluster.local/ns/a/sa/b?x'],
  ['fragment', 'spiffe://cluster.local/ns/a/sa/b#x'],
  ['percent encoding', 'spiffe://cluster.local/ns/a/sa/%62'],
  ['a line break at the end', 'spiffe://cluster.local/ns/a/sa/b\n'],
  ['wrong key words', 'spiffe://cluster.local/namespace/a/sa/b'],
  ['too long', `spiffe://cluster.local/ns/a/sa/${'b'.repeat(2048)}`],
  ['too long a trust domain', `spiffe://${'a'.repeat(256)}/ns/a/sa/b`],
] as const) {
  test(`refused: ${name}`, () => assert.equal(parseSpiffe(uri), undefined));
}

test('parts that would change the path are not formatted', () => {
  assert.throws(
    () => formatSpiffe({ trustDomain: 'td', namespace: 'a/sa/b', serviceAccount: 'c' }),
    RangeError,
  );
});

test('whatever parses, formats to the same text', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (tail) => {
      const uri = `spiffe://td/ns/${tail}`;
      const parsed = parseSpiffe(uri);
      if (parsed !== undefined) assert.equal(formatSpiffe(parsed), uri);
    }),
  );
});
