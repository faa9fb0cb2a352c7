/** Reading `iptables-save` and comparing it with the rules wanted. */
import { neededChains } from './restore_text.ts';
import { chainPrefix, tables } from './rules.ts';
import type { Rule } from './rules.ts';

/** Table -> chain -> rules as `iptables-save` prints them. Built-in chains are present only with rules. */
export type SavedState = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

/** Parses `iptables-save`, with or without counters. */
export function parseSavedState(text: string): SavedState {
  const state = new Map<string, Map<string, string[]>>();
  let table = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      table = new Map();
      state.set(line.slice(1).trim(), table);
    } else if (line.startsWith(`:${chainPrefix}`)) {
      table.set(line.slice(1).split(' ')[0] ?? '', []);
    } else {
      const chain = /^(?:\[\d+:\d+\] )?-A (\S+)/.exec(line)?.[1];
      if (chain === undefined) continue;
      const rules = table.get(chain) ?? [];
      rules.push(line);
      table.set(chain, rules);
    }
  }
  return state;
}

/** Whether capture chains, or jumps to them, are there. */
export function hasCaptureState(state: SavedState): boolean {
  return state
    .values()
    .flatMap((table) => table.entries())
    .some(([chain, rules]) => chain.startsWith(chainPrefix) || rules.some((rule) => jumpsToCapture(rule)));
}

function jumpsToCapture(rule: string): boolean {
  return rule.includes(` -j ${chainPrefix}`);
}

/**
 * Whether the capture chains are those wanted, each with the number of rules wanted. That each rule is there is another
 * question (the kernel prints rules in its own words), answered by `iptables -C`.
 */
export function hasWantedChains(state: SavedState, wanted: readonly Rule[]): boolean {
  return tables.every((table) => {
    const rules = wanted.filter((rule) => rule.table === table);
    const needed = neededChains(rules);
    const present = state.get(table) ?? new Map<string, readonly string[]>();
    const count = (chain: string): number => rules.filter((rule) => rule.chain === chain).length;
    return (
      needed.every((chain) => present.get(chain)?.length === count(chain)) &&
      present.keys().every((chain) => !chain.startsWith(chainPrefix) || needed.includes(chain))
    );
  });
}

/** Calls that remove whatever capture left: jumps from other chains, then the chains themselves. */
export function stateCleanupCommands(state: SavedState): string[][] {
  const commands: string[][] = [];
  for (const [table, tableChains] of state) {
    for (const rule of [...tableChains.values()].flat())
      if (jumpsToCapture(rule)) commands.push(['-t', table, '-D', ...words(rule.replace(/^.*?-A /, ''))]);
    const own = [...tableChains.keys()].filter((chain) => chain.startsWith(chainPrefix));
    for (const chain of own) commands.push(['-t', table, '-F', chain]);
    for (const chain of own) commands.push(['-t', table, '-X', chain]);
  }
  return commands;
}

/** Splits at spaces; double quotes hold a word together (comments). */
function words(rule: string): string[] {
  const found = rule.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? [];
  return found.map((word) => (word.startsWith('"') ? word.slice(1, -1).replaceAll(/\\(.)/g, '$1') : word));
}
