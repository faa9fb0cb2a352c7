/** `envoy.config.core.v3.DataSource` as text. */
import { readFileSync } from 'node:fs';
import type { DataSource } from '#api/gen/envoy/config/core/v3/base_pb.ts';

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

/** @throws Error for environment variables, which are not for the data plane, and for files that cannot be read. */
export function readDataSource(source: DataSource | undefined, readFile = readText): string {
  const specifier = source?.specifier;
  switch (specifier?.case) {
    case 'inlineString':
      return specifier.value;
    case 'inlineBytes':
      return Buffer.from(specifier.value).toString('utf8');
    case 'filename':
      return readFile(specifier.value);
    case 'environmentVariable':
      throw new Error('text from an environment variable is not supported');
    default:
      return '';
  }
}
