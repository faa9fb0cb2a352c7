/** Messages as resources for the wire, encoded once however many clients share them. */
import { hash } from 'node:crypto';
import { type DescMessage, type Message, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { ServedResource } from './source.ts';

const encoded = new WeakMap<Message, ServedResource>();

/**
 * The bytes of a message under a name; the version is a hash of the bytes, so that equal content is never sent twice over
 * delta. A message must not change after the first call: the result is kept as long as the message lives.
 */
export function encodeResource<Desc extends DescMessage>(
  schema: Desc,
  name: string,
  message: MessageShape<Desc>,
): ServedResource {
  const known = encoded.get(message);
  if (known !== undefined) return known;
  const bytes = toBinary(schema, message);
  const resource = { name, version: hash('sha1', bytes, 'hex').slice(0, 16), bytes };
  encoded.set(message, resource);
  return resource;
}
