/** B3 propagation headers, several or one (https://github.com/openzipkin/b3-propagation). */
import type { HeaderMap } from '../../http/header_map.ts';
import { isHexId } from '../tracer.ts';

/** Trace that came with a request; `traceId` is empty when none did. */
export interface B3 {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  /** Undefined when the sender left it open. */
  readonly sampled: boolean | undefined;
}

const nothing: B3 = { traceId: '', spanId: '', parentId: '', sampled: undefined };

function isTraceId(text: string): boolean {
  return isHexId(text, 32) || isHexId(text, 16);
}

function sampledOf(text: string | undefined): boolean | undefined {
  if (text === '1' || text === 'true' || text === 'd') return true;
  return text === '0' || text === 'false' ? false : undefined;
}

/** `traceid-spanid-sampled-parentid`, the last two optional, or the sampling decision alone. */
function readSingle(text: string): B3 | 'refused' {
  const [traceId = '', spanId = '', sampled, parentId = ''] = text.split('-', 5);
  if (spanId === '' && traceId.length === 1) return { ...nothing, sampled: sampledOf(traceId) };
  if (!isTraceId(traceId) || !isHexId(spanId, 16) || (parentId !== '' && !isHexId(parentId, 16)))
    return 'refused';
  return { traceId, spanId, parentId, sampled: sampledOf(sampled) };
}

/** `refused` for malformed ids, which nothing may be added to. */
export function readB3(headers: HeaderMap): B3 | 'refused' {
  const single = headers.getFirst('b3');
  if (single !== undefined) return readSingle(single);
  const sampled = headers.getFirst('x-b3-flags') === '1' ? true : sampledOf(headers.getFirst('x-b3-sampled'));
  const traceId = headers.getFirst('x-b3-traceid');
  const spanId = headers.getFirst('x-b3-spanid');
  if (traceId === undefined || spanId === undefined) return { ...nothing, sampled };
  const parentId = headers.getFirst('x-b3-parentspanid') ?? '';
  if (!isTraceId(traceId) || !isHexId(spanId, 16) || (parentId !== '' && !isHexId(parentId, 16)))
    return 'refused';
  return { traceId, spanId, parentId, sampled };
}

/** A trace passed on in the form in which it came. */
export function writeB3(headers: HeaderMap, { traceId, spanId, parentId, sampled }: B3): void {
  if (headers.has('b3')) {
    const parent = parentId === '' ? '' : `-${parentId}`;
    headers.set('b3', `${traceId}-${spanId}-${sampled === true ? '1' : '0'}${parent}`);
    return;
  }
  headers.set('x-b3-traceid', traceId);
  headers.set('x-b3-spanid', spanId);
  if (parentId !== '') headers.set('x-b3-parentspanid', parentId);
  headers.set('x-b3-sampled', sampled === true ? '1' : '0');
}
