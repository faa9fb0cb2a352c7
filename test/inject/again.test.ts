/** Injecting what was injected changes no byte: over all shared manifests, native and classic. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { injectManifest } from '#inject/kube_inject.ts';
import { readSettings } from '#inject/settings.ts';
import { cases, missing, readCase } from './cases.ts';

interface Case {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly errorContains?: string;
  readonly params: { readonly valuesFile: string; readonly meshConfigFile: string };
}

/**
 * Pods that an older release injected, with the proxy in another list: its settings live through the first injection, as
 * Istio has it, and give way in the second.
 */
const fromOlderReleases = new Set(['merge-probers.yaml']);

if (missing) test('injecting again', { skip: missing });

describe('injecting again', () => {
  for (const { name, inputs, errorContains, params } of cases<Case>('inject')) {
    if (errorContains !== undefined) continue;
    test(name, () => {
      const sources = {
        values: readCase('inject', params.valuesFile),
        mesh: readCase('inject', params.meshConfigFile),
      };
      for (const nativeSidecars of [true, false]) {
        const { settings } = readSettings({ ...sources, nativeSidecars });
        for (const input of inputs) {
          let once = injectManifest(readCase('inject', input), input, settings).text;
          if (fromOlderReleases.has(name)) once = injectManifest(once, input, settings).text;
          assert.equal(injectManifest(once, input, settings).text, once);
        }
      }
    });
  }
});
