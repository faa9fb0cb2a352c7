/** The iptables programs: which ones to use here, and calling them. */
import { CaptureError } from './capture_error.ts';
import type { Family } from './cidr_list.ts';
import { runCommand } from './command.ts';
import type { CommandOptions } from './command.ts';

/** What capture needs of iptables. The dry run has one of its own. */
export interface Iptables {
  /** The output of `iptables-save`, of `iptables-save -c` with counters; undefined when it fails. */
  save(family: Family, options?: { readonly counters?: boolean }): Promise<string | undefined>;
  /**
   * Feeds `iptables-restore --noflush`; each table is applied whole or not at all.
   * @throws CaptureError `command_failed`
   */
  restore(family: Family, text: string): Promise<void>;
  /** One call of `iptables`; true when it succeeded. */
  call(family: Family, args: readonly string[]): Promise<boolean>;
}

/** Which kernel interface the programs use. */
export type IptablesVariant = 'legacy' | 'nft';

/** Where and how to call iptables. */
export interface IptablesOptions {
  /** File of the network namespace, such as `/proc/42/ns/net`. Default: the caller's own. */
  readonly networkNamespace?: string;
  /** Use this variant or fail. Default: detect. */
  readonly variant?: IptablesVariant;
  /** IPv6 programs must be there too. */
  readonly ipv6: boolean;
  /**
   * The namespace is a pod's while the file system is shared (`--cni-mode`): lock per namespace, not per machine. Needs
   * `networkNamespace`.
   */
  readonly ownLock?: boolean;
}

/** Names of one family's programs. */
interface Programs {
  readonly iptables: string;
  readonly save: string;
  readonly restore: string;
  readonly variant: IptablesVariant;
}

/** xtables exit codes, as words for messages. */
const exitMeanings: Record<number, string> = {
  2: 'xtables parameter problem',
  3: 'xtables version problem',
  4: 'xtables resource problem',
};

function programNames(family: Family, suffix: string): Omit<Programs, 'variant'> {
  const base = `${family === 'v4' ? 'iptables' : 'ip6tables'}${suffix}`;
  return { iptables: base, save: `${base}-save`, restore: `${base}-restore` };
}

/** Whether rules or own chains are in a saved text. */
function hasRules(text: string): boolean {
  return /^-A |^:\S+ -/m.test(text);
}

/**
 * Chooses programs as Istio does: legacy when it holds rules here, else nft, else the plain name.
 * @throws CaptureError `missing_program`
 */
async function detectPrograms(family: Family, options: IptablesOptions): Promise<Programs> {
  const run = async (program: string, args: string[]): Promise<string | undefined> => {
    const result = await runCommand(program, args, commandOptions(options)).catch(() => undefined);
    return result?.code === 0 ? result.stdout : undefined;
  };
  const legacy = { ...programNames(family, '-legacy'), variant: 'legacy' } as const;
  const nft = { ...programNames(family, '-nft'), variant: 'nft' } as const;
  const { variant } = options;
  if (variant !== 'nft') {
    const saved = await run(legacy.save, []);
    if (saved !== undefined && (variant === 'legacy' || hasRules(saved))) return legacy;
  }
  if (variant !== 'legacy' && (await run(nft.iptables, ['-t', 'nat', '-S'])) !== undefined) return nft;
  const plain = programNames(family, '');
  const version = variant === undefined ? await run(plain.iptables, ['--version']) : undefined;
  if (version !== undefined) return { ...plain, variant: version.includes('legacy') ? 'legacy' : 'nft' };
  const name = plain.iptables + (variant === undefined ? '' : `-${variant}`);
  throw new CaptureError('missing_program', `${name} is not installed or not usable here`);
}

function commandOptions({ networkNamespace, ownLock }: IptablesOptions): CommandOptions {
  if (networkNamespace === undefined) return {};
  return { networkNamespace, ...(ownLock === true && { env: { XTABLES_LOCKFILE: networkNamespace } }) };
}

/**
 * The iptables of this machine.
 * @throws CaptureError `missing_program`
 */
export async function openIptables(options: IptablesOptions): Promise<Iptables> {
  const v4 = await detectPrograms('v4', options);
  const v6 = options.ipv6
    ? await detectPrograms('v6', options)
    : await detectPrograms('v6', options).catch(() => undefined);
  const programs = { v4, v6 };
  const call = async (
    family: Family,
    name: 'iptables' | 'save' | 'restore',
    args: readonly string[],
    input = '',
  ) => {
    const found = programs[family];
    if (found === undefined)
      throw new CaptureError('missing_program', 'ip6tables is not installed or not usable here');
    // The nft variant is atomic by itself; legacy takes a lock.
    const wait = found.variant === 'legacy' && name !== 'save' ? ['--wait=30'] : [];
    const program = found[name];
    return {
      program,
      ...(await runCommand(program, [...wait, ...args], { ...commandOptions(options), input })),
    };
  };
  return {
    async save(family, { counters = false } = {}) {
      if (programs[family] === undefined) return undefined;
      const { code, stdout } = await call(family, 'save', counters ? ['-c'] : []);
      return code === 0 ? stdout : undefined;
    },
    async restore(family, text) {
      const { program, code, stderr } = await call(family, 'restore', ['--noflush'], text);
      if (code === 0) return;
      const meaning = exitMeanings[code] ?? `exit code ${code}`;
      throw new CaptureError('command_failed', `${program}: ${meaning}: ${stderr.trim()}`);
    },
    async call(family, args) {
      if (programs[family] === undefined) return false;
      return (await call(family, 'iptables', args)).code === 0;
    },
  };
}

/** Dry run: calls nothing, hands each call (or the restore text) to `write`; the machine looks untouched. */
export function recordIptables(write: (text: string) => void): Iptables {
  const name = (family: Family): string => programNames(family, '').iptables;
  return {
    async save(family) {
      write(`${name(family)}-save\n`);
      return undefined;
    },
    async restore(_family, text) {
      write(text);
    },
    async call(family, args) {
      write(`${name(family)} ${args.join(' ')}\n`);
      return true;
    },
  };
}
