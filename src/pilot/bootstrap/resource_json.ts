/** Encoded resources as JSON, for people. Loads all generated types at first use. */
import { type Registry, fromBinary, toJson } from '@bufbuild/protobuf';
import type { ServedResource } from '#xds/server/source.ts';

let registry: Registry | undefined;

/** JSON of resources of one type, with the messages inside each Any. */
export async function resourceJson(
  typeUrl: string,
  resources: readonly ServedResource[],
): Promise<readonly unknown[]> {
  if (registry === undefined) {
    const { createTypeRegistry } = await import('#api/registry.ts');
    registry = createTypeRegistry();
  }
  const types = registry;
  const schema = types.getMessage(typeUrl.slice(typeUrl.lastIndexOf('/') + 1));
  if (schema === undefined) return [];
  return resources.map(({ bytes }) => toJson(schema, fromBinary(schema, bytes), { registry: types }));
}
