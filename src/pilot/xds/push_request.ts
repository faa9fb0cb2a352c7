/** Why and what to push. */
import type { PushContext } from '../model/push_context.ts';

/** What started a push, as Istio labels `pilot_push_triggers`. */
export type PushReason = 'config' | 'endpoint' | 'service' | 'global' | 'proxy' | 'debug';

/** A push to one or all proxies. */
export interface PushRequest {
  readonly context: PushContext;
  /** Number of the context; grows by one with each. */
  readonly generation: number;
  /** False when nothing but endpoints differs. */
  readonly full: boolean;
  readonly reasons: ReadonlySet<PushReason>;
  /** When the first of the changes was seen, milliseconds since the epoch. */
  readonly startedAt: number;
}

/** One request that stands for both: the newer context, everything that either asks for, since the older start. */
export function mergePushRequests(older: PushRequest, newer: PushRequest): PushRequest {
  const latest = newer.generation >= older.generation ? newer : older;
  return {
    context: latest.context,
    generation: latest.generation,
    full: older.full || newer.full,
    reasons: older.reasons.union(newer.reasons),
    startedAt: Math.min(older.startedAt, newer.startedAt),
  };
}
