/** `traceparent` (W3C Trace Context, 3.2). */
import { isHexId } from '../tracer.ts';

export interface Traceparent {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
}

/** Undefined for a header that is malformed. */
export function readTraceparent(text: string): Traceparent | undefined {
  if (text.length !== 55) return undefined;
  const [version = '', traceId = '', spanId = '', flags = ''] = text.split('-', 5);
  if (!/^[0-9a-f]{2}$/.test(version) || version === 'ff' || !/^[0-9a-f]{2}$/.test(flags)) return undefined;
  if (!isHexId(traceId, 32) || !isHexId(spanId, 16)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}
