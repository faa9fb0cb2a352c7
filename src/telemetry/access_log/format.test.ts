import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  compileJsonFormat,
  compileTextFormat,
  FormatError,
  parseFormat,
  type OperatorTable,
} from './format.ts';
import { compileTimeFormat, formatIsoMillis } from './time_format.ts';

type Entry = Readonly<Record<string, string | number | undefined>>;

const operators: OperatorTable<Entry> = {
  REQ: (argument) => {
    if (argument === undefined) throw new Error('expected a header name');
    return (entry) => entry[argument];
  },
  CODE: () => (entry) => entry['code'],
  START_TIME: (argument) => {
    const format = compileTimeFormat(argument ?? '%s');
    return (entry) => format(entry['start'] as number);
  },
};

test('text: literals, absent values, lengths, percent signs', () => {
  const format = compileTextFormat('[%REQ(a)%] %CODE% "%REQ(b):3%" 100%% %REQ(none)%\n', operators);
  assert.equal(format({ a: 'x', b: 'abcdef', code: 200 }), '[x] 200 "abc" 100% -\n');
  assert.equal(compileTextFormat('%REQ(none)%|', operators, true)({}), '|');
});

test('a time format keeps its own percent signs', () => {
  const format = compileTextFormat('%START_TIME(%Y/%m/%dT%H:%M:%S%z %3f %s)%', operators);
  assert.equal(format({ start: 1746379338230 }), '2025/05/04T17:22:18+0000 230 1746379338');
});

test('JSON keeps types, sorts keys, nests, and leaves out what is empty when told so', () => {
  const shape = { b: '%CODE%', a: { y: 'x%REQ(a)%', list: ['%CODE%', 1] }, none: '%REQ(none)%' };
  assert.equal(
    compileJsonFormat(shape, operators)({ a: '1', code: 200 }),
    '{"a":{"list":[200,1],"y":"x1"},"b":200,"none":null}\n',
  );
  assert.equal(
    compileJsonFormat({ none: '%REQ(none)%', c: '%CODE%' }, operators, true)({ code: 1 }),
    '{"c":1}\n',
  );
});

test('what cannot be compiled is named', () => {
  const cases: [string, RegExp][] = [
    ['a %NOPE% b', /unknown operator %NOPE% at character 3/],
    ['%REQ%', /%REQ% at character 1: expected a header name/],
    ['%REQ(a', /no closing %/],
    ['%lower%', /is not an operator/],
    ['%START_TIME(%Q)%', /%Q is not a time field/],
    ['x'.repeat(20_000), /longer than/],
    ['%constructor%', /is not an operator/],
  ];
  for (const [format, message] of cases) assert.throws(() => parseFormat(format, operators), message);
});

test('any text either compiles or is a FormatError', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('%', 'R', 'E', 'Q', '(', ')', ':', '1', 'C', 'O', 'D', ' ') }),
      (text) => {
        try {
          compileTextFormat(text, operators)({ code: 1 });
        } catch (error) {
          assert.ok(error instanceof FormatError);
        }
      },
    ),
  );
});

test('time fields', () => {
  const ms = Date.UTC(2024, 1, 29, 0, 5, 9, 7);
  const cases: [string, string][] = [
    ['%F %T', '2024-02-29 00:05:09'],
    ['%a %A %b %B %j %u', 'Thu Thursday Feb February 060 4'],
    ['%I %p %e %y', '12 AM 29 24'],
    ['%6f %E3S %E*S %Ez', '007000 09.007 09.007 +00:00'],
  ];
  for (const [format, expected] of cases) assert.equal(compileTimeFormat(format)(ms), expected);
  assert.equal(formatIsoMillis(ms), '2024-02-29T00:05:09.007Z');
});
