/**
 * The same command in a leaner process. Code that runs from a checkout goes through Node's type stripper, which takes 17 MB
 * that it never gives back, unless the compile cache has the answer; and the cache is looked at only when it is named before
 * the start. So the process replaces itself once (execve(2)): same pid, same descriptors.
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Env } from './main.ts';

/** Set in the environment of the leaner process, so that it happens once. */
const marker = 'TRYSAIL_LEAN_PROCESS';

/** Semi-space, MiB: half of what V8 takes under load without a limit; costs about 2 % of CPU (docs/decisions/0007). */
const semiSpaceMb = 4;

/** Returns when there is nothing to gain; else the process begins anew and nothing after it runs. */
export function becomeLean(env: Env, execArgv: readonly string[] = process.execArgv): void {
  if (env[marker] !== undefined || typeof process.execve !== 'function') return;
  // A debugger or a coverage run must not lose its process.
  if (execArgv.some((flag) => flag.startsWith('--inspect')) || env['NODE_V8_COVERAGE'] !== undefined) return;
  const environment: Record<string, string> = { [marker]: '1' };
  for (const [name, value] of Object.entries(env)) if (value !== undefined) environment[name] = value;
  environment['NODE_COMPILE_CACHE'] ??= join(tmpdir(), 'node-compile-cache');
  const entry = process.argv.slice(1);
  const flags = [...execArgv.filter((flag) => !flag.startsWith('--max-semi-space-size'))];
  process.execve(
    process.execPath,
    [process.execPath, ...flags, `--max-semi-space-size=${semiSpaceMb}`, ...entry],
    environment,
  );
}
