/**
 * `x-request-id` (envoy.extensions.request_id.uuid.v3): a UUID whose 15th character tells whether the request is traced:
 * 4 no, 9 sampled, a forced by a service, b forced by a client.
 */
import { randomUUID } from 'node:crypto';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';

/** Where the trace reason stands. */
const reasonAt = 14;

export const TraceReason = { none: '4', sampled: '9', serviceForced: 'a', clientForced: 'b' } as const;
export type TraceReason = (typeof TraceReason)[keyof typeof TraceReason];

/** The reason in an id; `none` for ids that are no UUID. */
export function traceReason(id: string): TraceReason {
  if (id.length !== 36) return TraceReason.none;
  const c = id[reasonAt];
  return c === '9' || c === 'a' || c === 'b' ? c : TraceReason.none;
}

/** The id with another reason; ids that are no UUID stay as they are. */
export function withTraceReason(id: string, reason: TraceReason): string {
  if (id.length !== 36) return id;
  return id.slice(0, reasonAt) + reason + id.slice(reasonAt + 1);
}

export interface RequestIdOptions {
  /** Makes ids for requests without one; default true (generate_request_id). */
  readonly generate: boolean;
  /** Keeps the id of edge requests (preserve_external_request_id). */
  readonly preserveExternal: boolean;
}

/** Sets the id as the options say; gives the request's id, empty when there is none. */
export function setRequestId(headers: RequestHeaderMap, edge: boolean, options: RequestIdOptions): string {
  if ((headers.seen & HeaderFlag.requestId) === 0) {
    if (!options.generate) return '';
    const id = randomUUID();
    headers.addFlagged('x-request-id', id, HeaderFlag.requestId);
    return id;
  }
  const old = headers.getFirst('x-request-id') ?? '';
  if (!edge || !options.generate) return old;
  const id = options.preserveExternal ? withTraceReason(old, TraceReason.none) : randomUUID();
  if (id !== old) headers.set('x-request-id', id);
  return id;
}
