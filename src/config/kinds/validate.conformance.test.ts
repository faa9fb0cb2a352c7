/** Istio's own expectations of what is accepted and refused, and its samples, which must all be accepted. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { formatConfigError } from '../yaml/config_error.ts';
import { type ParsedResources, parseResources } from '../yaml/parse.ts';
import { notPassing } from './validate.not_passing.ts';

interface Case {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly expectedApiServer?: { readonly valid: boolean };
  readonly expectedCli?: { readonly valid: boolean };
  readonly expectedValidate?: { readonly exitCode: number };
}

const data =
  process.env['TRYSAIL_TESTDATA'] ?? join(import.meta.dirname, '../../../../shared/istio-testdata');
const missing = existsSync(data) ? false : `no test data: ${data} (set TRYSAIL_TESTDATA)`;
if (missing && process.env['CI'] === 'true') throw new Error(missing);

function read(suite: string, { inputs }: Case): ParsedResources[] {
  return inputs.map((input) => parseResources(readFileSync(join(data, suite, input), 'utf8'), input));
}

function cases(suite: string): Case[] {
  return missing ? [] : (JSON.parse(readFileSync(join(data, suite, 'manifest.json'), 'utf8')) as Case[]);
}

if (missing) test('validation conformance', { skip: missing });

describe('validation conformance: objects', () => {
  for (const example of cases('validate')) {
    // A refusal by either of Istio's two checks is a refusal here: we have one.
    const expected = example.expectedApiServer?.valid === true && example.expectedCli?.valid === true;
    const listed = notPassing.get(example.name);
    test(`${example.name}${listed === undefined ? '' : ` (listed: ${listed})`}`, () => {
      const results = read('validate', example);
      const errors = results.flatMap((result) => result.errors.map(formatConfigError));
      // An object of a kind that is ignored was neither accepted nor refused.
      const ignored = results.some(({ warnings }) =>
        warnings.some(({ code }) => code === 'unsupported_kind'),
      );
      const passes = !ignored && (errors.length === 0) === expected;
      if (listed === undefined)
        assert.ok(passes, ignored ? 'kind is not supported' : `found: ${errors.join('\n') || 'no error'}`);
      else assert.ok(!passes, 'passes now: take it off the list');
    });
  }

  test('the list names only cases that exist', { skip: missing }, () => {
    const names = new Set(cases('validate').map(({ name }) => name));
    assert.deepEqual(
      [...notPassing.keys()].filter((name) => !names.has(name)),
      [],
    );
  });
});

describe('validation conformance: samples', () => {
  for (const example of cases('samples')) {
    if (example.expectedValidate === undefined || example.expectedValidate === null) continue;
    test(example.name, () => {
      const errors = read('samples', example).flatMap((result) => result.errors.map(formatConfigError));
      assert.equal(errors.length === 0, example.expectedValidate?.exitCode === 0, errors.join('\n'));
    });
  }
});
