/** What ring hash and Maglev build of the hosts of one priority. */
import type { Host } from '../upstream/upstream.ts';

/** A host with its share of the table. */
export interface WeightedHost {
  readonly host: Host;
  /** Shares of all hosts add up to 1. */
  readonly weight: number;
  /** What stands for the host in hashes. */
  readonly key: string;
}

/** Hosts by hash. */
export interface HashTable {
  /** `attempt` counts from 0; a later attempt gives another place of the table. */
  find(hash: bigint, attempt: number): Host | undefined;
}
