import type { Family } from './cidr_list.ts';

/** The iptables tables capture writes to, in the order in which they are applied. */
export const tables = ['filter', 'mangle', 'nat', 'raw'] as const;
export type Table = (typeof tables)[number];

/** The chains capture makes. */
export const chains = {
  output: 'ISTIO_OUTPUT',
  outputDns: 'ISTIO_OUTPUT_DNS',
  inbound: 'ISTIO_INBOUND',
  redirect: 'ISTIO_REDIRECT',
  inRedirect: 'ISTIO_IN_REDIRECT',
  divert: 'ISTIO_DIVERT',
  tproxy: 'ISTIO_TPROXY',
  drop: 'ISTIO_DROP',
} as const;

/** Every chain of capture starts with this. */
export const chainPrefix = 'ISTIO_';

/** One rule. */
export interface Rule {
  readonly table: Table;
  readonly chain: string;
  /** Place to insert at, from 1. Absent: appended. */
  readonly position?: number;
  /** Matches and target, separated by single spaces. */
  readonly match: string;
}

/** The rules of both families, in order; `v6` is empty when IPv6 is off. */
export type CaptureRules = Readonly<Record<Family, readonly Rule[]>>;

/** An appended rule. */
export function append(table: Table, chain: string, match: string): Rule {
  return { table, chain, match };
}

/** An inserted rule; `position` counts from 1. */
export function insert(table: Table, chain: string, position: number, match: string): Rule {
  return { table, chain, position, match };
}
