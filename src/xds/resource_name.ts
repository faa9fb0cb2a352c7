/** Names of resources out of their bytes, without decoding the resource. */
import { typeUrls } from './type_url.ts';

/** Number of the field that holds the name: 1 in every type the protocol carries by name. */
const nameField = 1;

/** Reads a varint at `at`; value and next position, or undefined when the bytes end or it is longer than 10 bytes. */
function readVarint(bytes: Uint8Array, at: number): { value: number; next: number } | undefined {
  let value = 0;
  let scale = 1;
  for (let i = at; i < bytes.length && i < at + 10; i++) {
    const byte = bytes[i] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, next: i + 1 };
    scale *= 128;
  }
  return undefined;
}

/** Position behind a field's value, or undefined for what is no valid field (Protocol Buffers encoding, "Message Structure"). */
function skip(bytes: Uint8Array, wireType: number, at: number): number | undefined {
  switch (wireType) {
    case 0:
      return readVarint(bytes, at)?.next;
    case 1:
      return at + 8;
    case 2: {
      const length = readVarint(bytes, at);
      return length === undefined ? undefined : length.next + length.value;
    }
    case 5:
      return at + 4;
    default:
      return undefined;
  }
}

/**
 * Name of an encoded resource: its string field 1 (`Listener.name`, `Cluster.name`, `RouteConfiguration.name`,
 * `ClusterLoadAssignment.cluster_name`, `Secret.name`, `TypedExtensionConfig.name`). Empty when it has none, as an NDS
 * name table; undefined when the bytes are not a message.
 */
export function resourceNameOf(typeUrl: string, bytes: Uint8Array): string | undefined {
  if (typeUrl === typeUrls.nds) return '';
  let at = 0;
  while (at < bytes.length) {
    const tag = readVarint(bytes, at);
    if (tag === undefined) return undefined;
    const field = Math.floor(tag.value / 8);
    const wireType = tag.value & 7;
    if (field === nameField && wireType === 2) {
      const length = readVarint(bytes, tag.next);
      if (length === undefined || length.next + length.value > bytes.length) return undefined;
      return Buffer.from(bytes.buffer, bytes.byteOffset + length.next, length.value).toString('utf8');
    }
    const next = skip(bytes, wireType, tag.next);
    if (next === undefined || next > bytes.length) return undefined;
    at = next;
  }
  return '';
}
