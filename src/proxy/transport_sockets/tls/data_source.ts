/** envoy.config.core.v3.DataSource: bytes that stand in the configuration or in a file. */
import { readFileSync } from 'node:fs';
import type { DataSource } from '#api/gen/envoy/config/core/v3/base_pb.ts';

/**
 * Reads it now; undefined when it is absent or empty.
 * @throws Error when a file cannot be read, or when it names an environment variable.
 */
export function readDataSource(source: DataSource | undefined): Buffer | undefined {
  if (source === undefined) return undefined;
  const { specifier } = source;
  let bytes: Buffer;
  switch (specifier.case) {
    case undefined:
      return undefined;
    case 'filename':
      bytes = readFileSync(specifier.value);
      break;
    case 'inlineBytes':
      bytes = Buffer.from(specifier.value);
      break;
    case 'inlineString':
      bytes = Buffer.from(specifier.value);
      break;
    default:
      throw new Error(`environment_variable ${specifier.value}: not supported as a source of certificates`);
  }
  return bytes.length === 0 ? undefined : bytes;
}
