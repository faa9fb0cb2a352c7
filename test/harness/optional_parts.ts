/** What a machine may lack: found here, named in one line by the tests that need it, and a failure in CI. */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { findEnvoy } from '../../src/base/find_envoy.ts';

const root = join(import.meta.dirname, '..', '..');

/** Envoy's binary: where `findEnvoy` looks, else the one that `.ci/run` installs. */
export function envoyPath(): string | undefined {
  return (
    findEnvoy(process.env) ??
    globSync(join(root, '.cache/envoy/lib/python3*/site-packages/envoy/_bin/envoy'))[0]
  );
}

/**
 * The `skip` of a test that needs an optional part: false when it is there, else one line that names it. In CI nothing
 * may be missing.
 */
export function needs(part: string, found: unknown): false | string {
  if (found !== undefined && found !== false) return false;
  if (process.env['CI'] === 'true') throw new Error(`${part} is missing, and in CI nothing may be`);
  return `needs ${part}`;
}
