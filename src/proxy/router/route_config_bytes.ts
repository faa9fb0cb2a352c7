/** A route configuration as bytes, cut at its virtual hosts: what did not change need not be decoded again. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** Number of `RouteConfiguration.virtual_hosts` (envoy.config.route.v3). */
const virtualHostsField = 2;

export interface RouteConfigBytes {
  /** The message without its virtual hosts. */
  readonly rest: Uint8Array;
  /** The messages of `virtual_hosts`, in order: views into the input. */
  readonly virtualHosts: readonly Uint8Array[];
}

/** @throws Error for bytes that are no protobuf message. */
export function splitVirtualHosts(bytes: Uint8Array): RouteConfigBytes {
  const reader = new BinaryReader(bytes);
  const virtualHosts: Uint8Array[] = [];
  const rest: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [field, wireType] = reader.tag();
    if (field === virtualHostsField && wireType === WireType.LengthDelimited) {
      virtualHosts.push(reader.bytes());
      continue;
    }
    reader.skip(wireType, field);
    rest.push(bytes.subarray(start, reader.pos));
  }
  return { rest: rest.length === 1 ? (rest[0] as Uint8Array) : Buffer.concat(rest), virtualHosts };
}
