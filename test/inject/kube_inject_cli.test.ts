/** Suites `kube-inject-cli` and the injected part of `samples`, through the command line. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  assertSameDocuments,
  cases,
  documents,
  listed,
  missing,
  readCase,
  suiteFolder,
  trysail,
} from './cases.ts';
import { notPassing } from './not_passing.ts';

interface CliCase {
  readonly name: string;
  readonly args: readonly string[];
  readonly expected?: string;
  readonly exitNonZero?: boolean;
  readonly outputContains?: string;
}

interface SampleCase {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly params?: {
    readonly inject?: {
      readonly valuesFile: string;
      readonly meshConfigFile: string;
      readonly env: Readonly<Record<string, string>>;
    };
  };
  readonly expectedInjected?: string | null;
}

if (missing) test('suites kube-inject-cli and samples', { skip: missing });

describe('suite kube-inject-cli', { concurrency: 2 }, () => {
  for (const wanted of cases<CliCase>('kube-inject-cli'))
    test(wanted.name, () =>
      listed(notPassing.get(`kube-inject-cli/${wanted.name}`), async () => {
        const args = [...wanted.args, '--revision', 'default'];
        const { code, stdout, stderr } = await trysail(args, join(suiteFolder('kube-inject-cli'), 'files'));
        assert.equal(code !== 0, wanted.exitNonZero ?? false, stderr);
        if (wanted.outputContains !== undefined)
          assert.ok(`${stdout}${stderr}`.includes(wanted.outputContains), stderr);
        if (wanted.expected !== undefined)
          assertSameDocuments(documents(stdout), documents(readCase('kube-inject-cli', wanted.expected)));
      }),
    );
});

describe('suite samples: injected', { concurrency: 2 }, () => {
  for (const { name, inputs, params, expectedInjected } of cases<SampleCase>('samples')) {
    const inject = params?.inject;
    if (inject === undefined || expectedInjected === undefined || expectedInjected === null) continue;
    test(name, () =>
      listed(notPassing.get(`samples/${name}`), async () => {
        const files = ['--valuesFile', inject.valuesFile, '--meshConfigFile', inject.meshConfigFile];
        const args = ['kube-inject', ...files, '-f', ...inputs];
        const { code, stdout, stderr } = await trysail(args, suiteFolder('samples'), inject.env);
        assert.equal(code, 0, stderr);
        assertSameDocuments(documents(stdout), documents(readCase('samples', expectedInjected)));
      }),
    );
  }
});
