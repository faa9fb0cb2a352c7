/** Who opened the sandbox this process is in. */
import { readFile } from 'node:fs/promises';
import { runCommand } from '#capture/command.ts';
import type { Caller, UserIds } from './pod_command.ts';

const root: UserIds = { uid: 0, gid: 0 };

/** The id outside that is root's inside (user_namespaces(7)). */
async function outsideId(file: string): Promise<number | undefined> {
  const [inside, outside] = (await readFile(file, 'utf8')).trim().split(/\s+/).map(Number);
  return inside === 0 ? outside : undefined;
}

/**
 * The caller. An ordinary user is root inside a sandbox; its processes are shown the user's own numbers where the kernel
 * allows one more user namespace.
 */
export async function findCaller(onBehalfOf: UserIds | undefined): Promise<Caller> {
  const uid = await outsideId('/proc/self/uid_map');
  const gid = await outsideId('/proc/self/gid_map');
  if (uid === undefined || uid === 0 || gid === undefined) return { ids: onBehalfOf ?? root };
  const args = ['--user', `--map-user=${uid}`, `--map-group=${gid}`, '--', 'true'];
  const tried = await runCommand('unshare', args).catch(() => undefined);
  return { ids: root, ...(tried?.code === 0 && { shownAs: { uid, gid } }) };
}
