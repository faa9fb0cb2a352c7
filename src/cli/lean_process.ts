/**
 * The launcher `bin/trysail` gives a sidecar's process its settings (docs/decisions/0005-memory-of-a-sidecar.md). Who starts
 * `bin/trysail.ts` itself has passed it by: the process then replaces itself once by the launcher (execve(2)): same pid,
 * same descriptors.
 */
import type { Env } from './main.ts';

/** Does nothing when the launcher has run; else the process begins anew and nothing after it runs. */
export function becomeLean(env: Env, argv: readonly string[] = process.argv): void {
  const [, entry = '', ...args] = argv;
  if (!entry.endsWith('trysail.ts') || typeof process.execve !== 'function') return;
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) environment[name] = value;
  const launcher = entry.slice(0, -'.ts'.length);
  process.execve(process.execPath, [process.execPath, ...process.execArgv, launcher, ...args], environment);
}
