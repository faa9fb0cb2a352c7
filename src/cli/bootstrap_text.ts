/**
 * An Envoy bootstrap in JSON or YAML as message. Loads every generated type: `trysail proxy` calls it in a process that
 * ends (bootstrap_process.ts), so that the proxy does not hold them.
 */
import { type JsonObject, type JsonValue, create, fromJson, toBinary } from '@bufbuild/protobuf';
import { BootstrapSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { LocalitySchema, NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';

/** What the command line says of the bootstrap. */
export interface BootstrapInput {
  /** Text of `--config-path`, with the path for messages. */
  readonly file?: { readonly path: string; readonly text: string } | undefined;
  /** `--config-yaml`: merged over the file. */
  readonly overlay?: string | undefined;
  readonly serviceNode?: string | undefined;
  readonly serviceCluster?: string | undefined;
  readonly serviceZone?: string | undefined;
  /** Accept fields that nobody knows (`--allow-unknown-static-fields`). */
  readonly allowUnknownFields: boolean;
}

async function parse(text: string, what: string): Promise<JsonObject> {
  let value: unknown;
  try {
    value = text.trimStart().startsWith('{') ? JSON.parse(text) : (await import('yaml')).parse(text);
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${what}: expected an object at the top`);
  return value as JsonObject;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** As protobuf merges messages: objects are joined, lists are appended, the rest is replaced. */
function merge(base: JsonValue | undefined, overlay: JsonValue): JsonValue {
  if (Array.isArray(base) && Array.isArray(overlay)) return [...base, ...overlay];
  if (!isObject(base) || !isObject(overlay)) return overlay;
  const merged: JsonObject = { ...base };
  for (const [key, value] of Object.entries(overlay)) merged[key] = merge(merged[key], value);
  return merged;
}

/** Bytes of the bootstrap. Rejects with an Error that names the file and the field. */
export async function readBootstrap(input: BootstrapInput): Promise<Uint8Array> {
  let value: JsonValue = {};
  if (input.file !== undefined) value = await parse(input.file.text, input.file.path);
  if (input.overlay !== undefined) value = merge(value, await parse(input.overlay, '--config-yaml'));
  let bootstrap;
  try {
    bootstrap = fromJson(BootstrapSchema, value, {
      registry: createTypeRegistry(),
      ignoreUnknownFields: input.allowUnknownFields,
    });
  } catch (error) {
    throw new Error(`${input.file?.path ?? '--config-yaml'}: ${(error as Error).message}`, { cause: error });
  }
  const node = (bootstrap.node ??= create(NodeSchema));
  if (input.serviceNode !== undefined) node.id = input.serviceNode;
  if (input.serviceCluster !== undefined) node.cluster = input.serviceCluster;
  if (input.serviceZone !== undefined) {
    node.locality ??= create(LocalitySchema);
    node.locality.zone = input.serviceZone;
  }
  return toBinary(BootstrapSchema, bootstrap);
}
