/** Suite `check-inject`: verdicts of three webhooks, through the command line. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cases, listed, missing, suiteFolder, trysail } from './cases.ts';
import { notPassing } from './not_passing.ts';

interface Case {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly params: {
    readonly podLabels: Readonly<Record<string, string>>;
    readonly namespaceLabels: Readonly<Record<string, string>>;
  };
  readonly expectedResult: readonly unknown[];
}

const all = cases<Case>('check-inject');
if (missing) test('suite check-inject', { skip: missing });

function labels(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

describe('suite check-inject', { concurrency: 2 }, () => {
  for (const { name, inputs, params, expectedResult } of all)
    test(name, () =>
      listed(notPassing.get(`check-inject/${name}`), async () => {
        const files = inputs.flatMap((input) => ['-f', input]);
        const ofNamespace = labels(params.namespaceLabels);
        const ofPod = labels(params.podLabels);
        const args = [
          'x',
          'check-inject',
          '-o',
          'json',
          '--labels',
          ofPod,
          '--namespace-labels',
          ofNamespace,
          ...files,
        ];
        const result = await trysail(args, suiteFolder('check-inject'));
        assert.equal(result.code, 0, result.stderr);
        assert.deepEqual(JSON.parse(result.stdout), expectedResult);
      }),
    );
});
