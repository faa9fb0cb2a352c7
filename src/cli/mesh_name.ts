/** Options that name a running mesh, shared by the commands that talk to it. */
import { homedir, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { Option } from 'commander';
import type { Env } from './main.ts';

/** `--name`: several meshes may run at a time. */
export function nameOption(): Option {
  return new Option('--name <name>', 'name of the mesh').default('default').argParser((value: string) => {
    if (!/^[a-z0-9][a-z0-9-]{0,40}$/.test(value)) throw new Error('a name is up to 41 of a-z, 0-9 and -');
    return value;
  });
}

/** Folders for state that stays and for what lives as long as a run (XDG Base Directory). */
export function baseDirectories(env: Env): { keep: string; run: string } {
  const run = env['XDG_RUNTIME_DIR'];
  return {
    keep: join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'trysail'),
    run: run === undefined || run === '' ? join(tmpdir(), `trysail-${userInfo().uid}`) : join(run, 'trysail'),
  };
}
