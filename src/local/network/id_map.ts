/** Subordinate ids: what an ordinary user may map into a user namespace (subuid(5), newuidmap(1)). */
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';

/** A range of ids of the machine. */
export interface IdRange {
  readonly start: number;
  readonly count: number;
}

/** Inside, ids 1 to this are wanted; 1337 is the sidecar's. */
const wantedCount = 65_535;
const neededCount = 1337;

/** The largest range that belongs to the user, by name or number; undefined when none holds id 1337. */
export function findIdRange(
  text: string,
  user: { readonly name: string; readonly id: number },
): IdRange | undefined {
  return text
    .split('\n')
    .map((line) => line.trim().split(':'))
    .filter(([owner]) => owner === user.name || owner === String(user.id))
    .map(([, start, count]) => ({ start: Number(start), count: Math.min(Number(count), wantedCount) }))
    .filter(({ start, count }) => Number.isInteger(start) && start > 0 && count >= neededCount)
    .sort((a, b) => b.count - a.count)[0];
}

/** This user's ranges, both or none. */
export async function ownIdRanges(): Promise<{ uids: IdRange; gids: IdRange } | undefined> {
  const { username, uid } = userInfo();
  const find = async (file: string): Promise<IdRange | undefined> =>
    findIdRange(await readFile(file, 'utf8').catch(() => ''), { name: username, id: uid });
  const [uids, gids] = await Promise.all([find('/etc/subuid'), find('/etc/subgid')]);
  return uids && gids && { uids, gids };
}

/** Arguments of newuidmap or newgidmap: the user itself is root inside, the range follows from 1. */
export function idMapArguments(pid: number, ownId: number, { start, count }: IdRange): string[] {
  return [pid, 0, ownId, 1, 1, start, count].map(String);
}
