/** Tracers (envoy.tracers.*): what the connection manager asks of them. Loaded when a configuration names one. */
import { randomFillSync } from 'node:crypto';
import type { FactoryContext, TypedConfig } from '../factory_context.ts';
import type { RequestHeaderMap } from '../http/header_map.ts';
import type { ExtensionFactory } from '../registry.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';

/** What a request carries of its trace, and the part of this proxy in it. */
export interface Span {
  /** 32 or 16 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  /** Empty for the first span of a trace. */
  readonly parentId: string;
  /** Only sampled spans are reported. */
  readonly sampled: boolean;
  /** `tracestate` as it came; empty for none. */
  readonly state: string;
  /** Operation. */
  name: string;
}

export type SpanTags = readonly (readonly [name: string, value: string])[];

export interface Tracer {
  /**
   * The span of a request. Undefined when there is nothing to pass on and nothing to report.
   * @param egress the request leaves the workload
   * @param traced what sampling decided; a trace that came with the request decides itself
   */
  start(headers: RequestHeaderMap, egress: boolean, traced: boolean): Span | undefined;
  /** Writes the span into the headers that go upstream. */
  inject(span: Span, headers: RequestHeaderMap): void;
  /** Takes a finished span that is sampled. Must not keep `info`. */
  report(span: Span, tags: SpanTags, info: StreamInfo, egress: boolean): void;
}

/** Extension kind `tracer`; `create` throws Error for a bad configuration. */
export interface TracerExtension extends ExtensionFactory {
  create(config: TypedConfig, context: FactoryContext): Tracer;
}

const pool = Buffer.alloc(4096);
let used = pool.length;

/** Random hexadecimal digits. @param bytes half as many as digits; up to 64. */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const hex = pool.toString('hex', used, used + bytes);
  used += bytes;
  return hex;
}

/** Hexadecimal digits of a length, not all zero. */
export function isHexId(text: string, digits: number): boolean {
  return text.length === digits && /^[0-9a-f]+$/.test(text) && !/^0+$/.test(text);
}
