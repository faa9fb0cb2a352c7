/** OTLP messages that are sent (opentelemetry.proto.{trace,logs,common,resource}.v1), written field by field. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

export type Attributes = readonly (readonly [name: string, value: string])[];

const bytes = WireType.LengthDelimited;

/** `common.v1.KeyValue` with a string as field `field`. */
export function writeAttribute(writer: BinaryWriter, field: number, name: string, value: string): void {
  writer.tag(field, bytes).fork();
  writer.tag(1, bytes).string(name);
  writer.tag(2, bytes).fork().tag(1, bytes).string(value).join();
  writer.join();
}

export function writeAttributes(writer: BinaryWriter, field: number, attributes: Attributes): void {
  for (const [name, value] of attributes) writeAttribute(writer, field, name, value);
}

/** `opentelemetry.proto.trace.v1.Span` in part. */
export interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly state: string;
  readonly name: string;
  /** 2 server, 3 client. */
  readonly kind: number;
  /** Nanoseconds since the epoch. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Attributes;
  readonly failed: boolean;
}

/** Sampled, and what is known of the parent: it came from another process (Span.flags). */
const sampledFlag = 1;
const hasRemoteFlag = 0x100;
const isRemoteFlag = 0x200;

function writeSpan(writer: BinaryWriter, span: OtlpSpan): void {
  writer.tag(1, bytes).bytes(Buffer.from(span.traceId, 'hex'));
  writer.tag(2, bytes).bytes(Buffer.from(span.spanId, 'hex'));
  if (span.state !== '') writer.tag(3, bytes).string(span.state);
  if (span.parentId !== '') writer.tag(4, bytes).bytes(Buffer.from(span.parentId, 'hex'));
  writer.tag(5, bytes).string(span.name);
  writer.tag(6, WireType.Varint).int32(span.kind);
  writer.tag(7, WireType.Bit64).fixed64(span.startNs);
  writer.tag(8, WireType.Bit64).fixed64(span.endNs);
  writeAttributes(writer, 9, span.attributes);
  if (span.failed) writer.tag(15, bytes).fork().tag(3, WireType.Varint).int32(2).join();
  const flags = sampledFlag | hasRemoteFlag | (span.parentId === '' ? 0 : isRemoteFlag);
  writer.tag(16, WireType.Bit32).fixed32(flags);
}

/** Who made it: `InstrumentationScope`. */
export interface Scope {
  readonly name: string;
}

/** `ExportTraceServiceRequest` and `ExportLogsServiceRequest` have the same outer shape. */
function writeExport(
  resource: Attributes,
  scope: Scope | undefined,
  writeItems: (writer: BinaryWriter) => void,
): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, bytes).fork();
  writer.tag(1, bytes).fork();
  writeAttributes(writer, 1, resource);
  writer.join();
  writer.tag(2, bytes).fork();
  if (scope !== undefined) {
    writer.tag(1, bytes).fork();
    writer.tag(1, bytes).string(scope.name);
    writer.join();
  }
  writeItems(writer);
  writer.join().join();
  return writer.finish();
}

export function encodeSpans(
  resource: Attributes,
  scope: Scope | undefined,
  spans: readonly OtlpSpan[],
): Uint8Array {
  return writeExport(resource, scope, (writer) => {
    for (const span of spans) {
      writer.tag(2, bytes).fork();
      writeSpan(writer, span);
      writer.join();
    }
  });
}

/** @param records finished `LogRecord` messages. */
export function encodeLogs(
  resource: Attributes,
  scope: Scope | undefined,
  records: readonly Uint8Array[],
): Uint8Array {
  return writeExport(resource, scope, (writer) => {
    for (const record of records) writer.tag(2, bytes).bytes(record);
  });
}
