/** Puts rules in place: compare, clean up when asked, apply, report. */
import type { Logger } from '#base/log.ts';
import { CaptureError } from './capture_error.ts';
import type { Family } from './cidr_list.ts';
import type { Iptables } from './iptables.ts';
import {
  checkCommands,
  cleanupCommands,
  guardrailCleanupCommands,
  guardrailCommands,
  restoreText,
} from './restore_text.ts';
import type { CaptureRules, Rule } from './rules.ts';
import { hasCaptureState, hasWantedChains, parseSavedState, stateCleanupCommands } from './saved_state.ts';
import type { SavedState } from './saved_state.ts';

/** How to treat what is in place already. */
export interface ApplyOptions {
  /** Exchange other capture rules (traffic is dropped meanwhile) in place of failing. Default false. */
  readonly reconcile?: boolean;
  /** Only remove. Default false. */
  readonly cleanupOnly?: boolean;
  /** Apply even when all is in place. Default false. */
  readonly forceApply?: boolean;
}

/** What was done. `unchanged`: all rules were in place. */
export type ApplyResult = 'applied' | 'unchanged' | 'reconciled' | 'cleaned';

const families = ['v4', 'v6'] as const;

/** What is in place: of each family the state, `same` when it is what is wanted. */
interface Present {
  readonly states: Readonly<Record<Family, SavedState>>;
  readonly residue: boolean;
  readonly same: boolean;
}

async function inspect(iptables: Iptables, rules: CaptureRules): Promise<Present> {
  const states = {
    v4: parseSavedState((await iptables.save('v4')) ?? ''),
    v6: parseSavedState((await iptables.save('v6')) ?? ''),
  };
  const residue = families.some((family) => hasCaptureState(states[family]));
  let same = residue;
  for (const family of families)
    same &&=
      hasWantedChains(states[family], rules[family]) && (await hasAll(iptables, family, rules[family]));
  return { states, residue, same };
}

async function hasAll(iptables: Iptables, family: Family, rules: readonly Rule[]): Promise<boolean> {
  for (const check of checkCommands(rules)) if (!(await iptables.call(family, check))) return false;
  return true;
}

async function callAll(
  iptables: Iptables,
  family: Family,
  commands: readonly (readonly string[])[],
): Promise<boolean> {
  let ok = true;
  for (const command of commands) ok = (await iptables.call(family, command)) && ok;
  return ok;
}

/**
 * Applies the rules. Running it again changes nothing.
 * @throws CaptureError `drift` when other capture rules are in place and neither `reconcile` nor `forceApply` is set,
 * `command_failed` when iptables refuses
 */
export async function applyRules(
  iptables: Iptables,
  rules: CaptureRules,
  options: ApplyOptions,
  logger: Logger,
): Promise<ApplyResult> {
  const present = await inspect(iptables, rules);
  const differs = present.residue && !present.same;
  const clean = async (): Promise<void> => {
    for (const family of families) {
      await callAll(iptables, family, cleanupCommands(rules[family]));
      await callAll(iptables, family, stateCleanupCommands(present.states[family]));
    }
  };
  const write = async (): Promise<void> => {
    for (const family of families) {
      const text = restoreText(rules[family]);
      if (text !== '') await iptables.restore(family, text);
    }
  };

  if (options.cleanupOnly === true) {
    logger.info('removing capture rules');
    await clean();
    return 'cleaned';
  }
  if (differs && options.reconcile === true) {
    logger.info('other capture rules are in place, exchanging them behind guardrails');
    await withGuardrails(iptables, async () => {
      await clean();
      await write();
    });
    return 'reconciled';
  }
  if (present.same && options.forceApply !== true) {
    logger.info('capture rules are in place already, nothing to do');
    return 'unchanged';
  }
  if (differs && options.forceApply !== true)
    throw new CaptureError(
      'drift',
      'other capture rules are in place; run with --reconcile to exchange them',
    );
  logger.info('applying capture rules');
  await write();
  return 'applied';
}

/** Drops all TCP and UDP while `work` runs. */
async function withGuardrails(iptables: Iptables, work: () => Promise<void>): Promise<void> {
  const guarded: Family[] = [];
  try {
    for (const family of families) {
      await callAll(iptables, family, guardrailCleanupCommands);
      if (await callAll(iptables, family, guardrailCommands)) guarded.push(family);
      else if (family === 'v4')
        throw new CaptureError('command_failed', 'iptables refused the guardrail rules');
    }
    await work();
  } finally {
    for (const family of guarded) await callAll(iptables, family, guardrailCleanupCommands);
  }
}
