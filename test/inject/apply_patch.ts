/** Applies a JSON Patch (RFC 6902) with `add`, `replace` and `remove`, as an API server does. */
import assert from 'node:assert/strict';
import type { Json } from './cases.ts';

/** A copy of the value with the changes. */
export function applyPatch(value: Json, patch: readonly Json[]): Json {
  const root = { '': structuredClone(value) } as Json;
  for (const { op, path, value: put } of patch) {
    const steps = String(path)
      .split('/')
      .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
    let at: unknown = root;
    for (const step of steps.slice(0, -1)) at = (at as Json)[step];
    const last = steps.at(-1) ?? '';
    if (Array.isArray(at) && op !== 'replace') {
      if (op === 'add') at.splice(last === '-' ? at.length : Number(last), 0, put);
      else at.splice(Number(last), 1);
      continue;
    }
    const target = at as Json;
    if (op !== 'add') assert.ok(last in target, `${String(op)}: nothing at ${String(path)}`);
    if (op === 'remove') delete target[last];
    else target[last] = put;
  }
  return root[''] as Json;
}
