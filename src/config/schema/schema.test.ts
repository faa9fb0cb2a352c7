import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Checker, describe as show, nearest } from './checker.ts';
import { parseDurationMs } from './duration.ts';
import { type PathSegment, formatPath, parsePath } from './issue.ts';
import {
  hostCovers,
  hostsOverlap,
  isAddress,
  isCidr,
  isFqdn,
  isLabelKey,
  isLabelValue,
  isWildcardDomain,
} from './names.ts';
import { regexError } from './regex.ts';
import { type Schema, boolean, integer, list, map, object, oneOf, string, withoutNulls } from './schema.ts';

function issuesOf(schema: Schema<unknown>, value: unknown): string[] {
  const checker = new Checker({ name: 'n', namespace: 'ns' });
  schema.check(value, checker);
  return checker.issues.map(({ code, path, message }) => `${code} ${formatPath(path)}: ${message}`);
}

interface Sample {
  readonly name?: string;
  readonly port?: number;
  readonly tags?: readonly string[];
  readonly mode?: 'FAST' | 'SLOW';
  readonly on?: boolean;
  readonly extra?: Readonly<Record<string, number>>;
}
const sample = object<Sample>(
  {
    name: string({ minLength: 1 }),
    port: integer({ min: 1, max: 9 }),
    tags: list(string(), { max: 2 }),
    mode: oneOf('FAST', 'SLOW'),
    on: boolean,
    extra: map(integer()),
  },
  {
    required: ['name'],
    atMostOneOf: [['port', 'tags']],
    rule: (value, at) => value.on === true && at.warn('no_effect', 'on'),
  },
);

describe('schema', () => {
  for (const [name, value, ...expected] of [
    ['a good object', { name: 'a', port: 3, mode: 'FAST', extra: { x: 1 } }],
    ['null is absent', { name: 'a', port: null, tags: null }],
    [
      'a missing field',
      {},
      'missing_field name: required: expected a string that is not empty, found nothing',
    ],
    ['a near miss', { name: 'a', prot: 1 }, 'unknown_field prot: unknown field, did you mean "port"?'],
    [
      'an unknown field',
      { name: 'a', zzzz: 1 },
      'unknown_field zzzz: unknown field, expected one of name, port, tags, mode, on, extra',
    ],
    [
      'wrong types',
      { name: 1, port: '1', tags: {}, mode: 2, on: 'yes', extra: [] },
      'wrong_type name: expected a string that is not empty, found 1',
      'wrong_type port: expected a whole number from 1 to 9, found "1"',
      'wrong_type tags: expected a list, found an empty object',
      'wrong_type mode: expected one of FAST, SLOW, found 2',
      'wrong_type on: expected true or false, found "yes"',
      'wrong_type extra: expected an object, found an empty list',
      'mutually_exclusive tags: only one of port, tags can be set, found port and tags',
    ],
    [
      'out of range',
      { name: 'a', port: 10 },
      'out_of_range port: expected a whole number from 1 to 9, found 10',
    ],
    [
      'not whole',
      { name: 'a', port: 1.5 },
      'wrong_type port: expected a whole number from 1 to 9, found 1.5',
    ],
    [
      'a wrong word',
      { name: 'a', mode: 'fast' },
      'unknown_value mode: expected one of FAST, SLOW, found "fast"; did you mean FAST?',
    ],
    [
      'items',
      { name: 'a', tags: ['x', null, 3] },
      'out_of_range tags: expected at most 2 items, found 3',
      'wrong_type tags[1]: expected a string, found nothing',
    ],
    [
      'values of a map',
      { name: 'a', extra: { 'a b': 'x' } },
      'wrong_type extra["a b"]: expected a whole number, found "x"',
    ],
    ['no object', 'x', 'wrong_type : expected an object, found "x"'],
    ['a rule', { name: 'a', on: true }, 'no_effect : on'],
    [
      'no rule on broken objects',
      { name: '', on: true },
      'invalid_value name: expected a string that is not empty, found ""',
      'missing_field name: required: expected a string that is not empty, found ""',
    ],
  ] as const) {
    it(name, () => assert.deepEqual(issuesOf(sample, value), expected));
  }

  it('keeps a bounded number of issues', () => {
    const value = Array.from({ length: 5000 }, () => 1);
    assert.equal(issuesOf(list(string()), value).length, 200);
  });

  it('never throws, whatever the value', () => {
    fc.assert(fc.property(fc.anything(), (value) => void issuesOf(sample, value)));
  });
});

it('withoutNulls', () => {
  const clean = { a: [1, { b: 2 }] };
  assert.equal(withoutNulls(clean), clean);
  assert.deepEqual(withoutNulls({ a: null, b: [null, { c: null, d: 1 }] }), { b: [null, { d: 1 }] });
  assert.equal(withoutNulls(null), null);
});

describe('paths', () => {
  it('are written and read', () => {
    const path = ['spec', 'http', 0, 'headers', 'end-user', 'exact'];
    assert.equal(formatPath(path), 'spec.http[0].headers["end-user"].exact');
    assert.deepEqual(parsePath(formatPath(path)), path);
    assert.equal(parsePath('a b'), undefined);
    assert.deepEqual(parsePath(''), []);
  });
  it('read back what was written', () => {
    const segment: fc.Arbitrary<PathSegment> = fc.oneof(fc.string(), fc.nat());
    fc.assert(fc.property(fc.array(segment), (path) => assert.deepEqual(parsePath(formatPath(path)), path)));
  });
});

it('nearest', () => {
  const fields = ['perTryTimeout', 'attempts', 'retryOn', 'route'];
  assert.equal(nearest('per_try_timeout', fields), 'perTryTimeout');
  assert.equal(nearest('retryon', fields), 'retryOn');
  assert.equal(nearest('rotue', fields), 'route');
  assert.equal(nearest('attempst', fields), 'attempts');
  assert.equal(nearest('hosts', fields), undefined);
  assert.equal(nearest('', fields), undefined);
});

it('describe', () => {
  assert.deepEqual([undefined, null, 'x', 1, true, [], [1], {}, { a: 1 }].map(show), [
    'nothing',
    'nothing',
    '"x"',
    '1',
    'true',
    'an empty list',
    'a list',
    'an empty object',
    'an object',
  ]);
  assert.equal(show('x'.repeat(100)).length, 62);
});

it('parseDurationMs', () => {
  for (const [text, ms] of [
    ['1s', 1000],
    ['1.5s', 1500],
    ['1h30m', 5_400_000],
    ['100ms', 100],
    ['1us', 0.001],
    ['.5s', 500],
    ['0', 0],
    ['-2s', -2000],
    ['0s', 0],
    ['', undefined],
    ['5', undefined],
    ['s', undefined],
    ['1 s', undefined],
    ['1d', undefined],
    ['.s', undefined],
    ['1s2', undefined],
    ['9999999999h', undefined],
  ] as const)
    assert.equal(parseDurationMs(text), ms, text);
});

it('names', () => {
  const check = (test: (text: string) => boolean, good: readonly string[], bad: readonly string[]): void => {
    for (const text of good) assert.ok(test(text), `good: ${text}`);
    for (const text of bad) assert.ok(!test(text), `bad: ${text}`);
  };
  check(
    isFqdn,
    ['reviews', 'a.b', 'a.b.', 'A.b', '1a.b', `${'a'.repeat(63)}.b`],
    [
      '',
      '.',
      'a..b',
      '-a',
      'a-',
      'a_b',
      '*.b',
      '1.2',
      '10.0.0.1',
      'a b',
      `${'a'.repeat(64)}.b`,
      'a.'.repeat(130),
    ],
  );
  check(
    isWildcardDomain,
    ['*', '*.b', '*b.c', '*-b.c', 'a.b', 'a'],
    ['', '**', 'a*.b', 'a.*', '*.', '*.1', '1.2.3.4'],
  );
  check(isAddress, ['1.2.3.4', '::1', '2001:db8::'], ['1.2.3', '1.2.3.4/8', 'fe80::1%eth0', 'a']);
  check(
    isCidr,
    ['1.2.3.4', '10.0.0.0/8', '::/0', '2001:db8::/128'],
    ['10.0.0.0/33', '10.0.0.0/', '/8', '::/129', 'a/8', '1.2.3.4/8/8'],
  );
  check(isLabelKey, ['app', 'example.com/app', 'a_b.c-d'], ['', '/a', 'a/', 'a b', 'a/b/c', '-a']);
  check(isLabelValue, ['', 'v1', 'a_b.c'], ['-a', 'a b', 'a'.repeat(64), '*']);
});

it('hosts that overlap or cover', () => {
  assert.ok(
    hostsOverlap('*.com', 'a.com') &&
      hostsOverlap('a.com', '*.com') &&
      hostsOverlap('*', 'x') &&
      hostsOverlap('*.com', '*.a.com'),
  );
  assert.ok(!hostsOverlap('*.com', 'com') && !hostsOverlap('a', 'b') && !hostsOverlap('*.a.com', '*.b.com'));
  assert.ok(
    hostCovers('*.com', 'a.com') &&
      hostCovers('*', '*.com') &&
      hostCovers('a', 'a') &&
      !hostCovers('a.com', '*.com'),
  );
});

it('regular expressions are those of RE2', () => {
  assert.equal(regexError('^/a/(b|c)+\\d*$'), undefined);
  for (const pattern of ['a(b', '(?=a)', '(a)\\1', 'a{2000}', 'a'.repeat(2000)])
    assert.ok(regexError(pattern) !== undefined, pattern.slice(0, 20));
});
