/**
 * `x-request-id` (envoy.extensions.request_id.uuid.v3): a UUID whose 15th character tells whether the request is traced:
 * 4 no, 9 sampled, a forced by a service, b forced by a client.
 */
import { randomBytes } from 'node:crypto';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';

/** Ids whose random digits are made at once. */
const idsPerBlock = 128;
let digits = '';
let used = 0;

/** A random UUID (RFC 9562 5.4). */
export function newUuid(): string {
  if (used === digits.length) {
    const bytes = randomBytes(16 * idsPerBlock);
    for (let i = 0; i < bytes.length; i += 16) {
      bytes[i + 6] = ((bytes[i + 6] as number) & 0x0f) | 0x40;
      bytes[i + 8] = ((bytes[i + 8] as number) & 0x3f) | 0x80;
    }
    digits = bytes.toString('hex');
    used = 0;
  }
  const at = used;
  used += 32;
  const text = digits;
  return `${text.slice(at, at + 8)}-${text.slice(at + 8, at + 12)}-${text.slice(at + 12, at + 16)}-${text.slice(at + 16, at + 20)}-${text.slice(at + 20, at + 32)}`;
}

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
    const id = newUuid();
    headers.addFlagged('x-request-id', id, HeaderFlag.requestId);
    return id;
  }
  const old = headers.getFirst('x-request-id') ?? '';
  if (!edge || !options.generate) return old;
  const id = options.preserveExternal ? withTraceReason(old, TraceReason.none) : newUuid();
  if (id !== old) headers.set('x-request-id', id);
  return id;
}
