/** The part of a policy that differs from one to the other. */
import type { Host } from '../upstream/upstream.ts';

/** Picks hosts of one fixed list. */
export interface HostPicker {
  /** Undefined when the list is empty. */
  pick(): Host | undefined;
}

export type CreatePicker = (hosts: readonly Host[]) => HostPicker;
