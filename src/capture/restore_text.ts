/** Rules as text for `iptables-restore --noflush` and as arguments for single `iptables` calls. */
import { chainPrefix, tables } from './rules.ts';
import type { Rule } from './rules.ts';

const builtInTargets = new Set('INPUT OUTPUT FORWARD PREROUTING POSTROUTING ACCEPT RETURN DROP'.split(' '));

/** The chains a table's rules need: first those with rules, then those only jumped to. */
export function neededChains(rules: readonly Rule[]): string[] {
  const jumpedTo = rules.map(({ match }) => / -j (\S+)$/.exec(` ${match}`)?.[1] ?? 'ACCEPT');
  const names = [...rules.map(({ chain }) => chain), ...jumpedTo];
  return [...new Set(names)].filter((name) => !builtInTargets.has(name));
}

function addArguments({ chain, position, match }: Rule): string {
  return position === undefined ? `-A ${chain} ${match}` : `-I ${chain} ${position} ${match}`;
}

/** The restore text; one transaction per table, empty when there are no rules. */
export function restoreText(rules: readonly Rule[]): string {
  const lines = tables.flatMap((table) => {
    const own = rules.filter((rule) => rule.table === table);
    if (own.length === 0) return [];
    return [
      `* ${table}`,
      ...neededChains(own).map((name) => `-N ${name}`),
      ...own.map(addArguments),
      'COMMIT',
    ];
  });
  return lines.map((line) => `${line}\n`).join('');
}

function command(table: string, text: string): string[] {
  return ['-t', table, ...text.split(' ')];
}

/** One call per rule that succeeds when the rule is in place. */
export function checkCommands(rules: readonly Rule[]): string[][] {
  return rules.map(({ table, chain, match }) => command(table, `-C ${chain} ${match}`));
}

/** Calls that remove the rules: jumps in last-in order, then every chain flushed and deleted. */
export function cleanupCommands(rules: readonly Rule[]): string[][] {
  const reversed = rules.toReversed();
  const isOwnChain = (name: string): boolean => name.startsWith(chainPrefix);
  const deletes = reversed
    .filter(({ chain, match }) => !isOwnChain(chain) || match.includes(`-j ${chainPrefix}`))
    .map(({ table, chain, match }) => command(table, `-D ${chain} ${match}`));
  const seen = new Set<string>();
  const chainDeletes = reversed.flatMap(({ table, chain }) => {
    const key = `${table} ${chain}`;
    if (!isOwnChain(chain) || seen.has(key)) return [];
    seen.add(key);
    return [command(table, `-F ${chain}`), command(table, `-X ${chain}`)];
  });
  return [...deletes, ...chainDeletes];
}

const guarded = ['INPUT', 'FORWARD', 'OUTPUT'].flatMap((chain) =>
  ['tcp', 'udp'].map((protocol) => [chain, `-p ${protocol} -j DROP`] as const),
);

/** Calls that stop all traffic while rules are exchanged: nothing may pass around the proxy. */
export const guardrailCommands = guarded.map(([chain, match]) => command('filter', `-I ${chain} 1 ${match}`));

/** Calls that take the guardrails away. */
export const guardrailCleanupCommands = guarded.map(([chain, match]) =>
  command('filter', `-D ${chain} ${match}`),
);
