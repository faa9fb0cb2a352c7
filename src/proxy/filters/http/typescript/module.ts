/** Code of users: loaded by path, checked before it runs. */
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, isAbsolute } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import type { Logger } from '#base/log.ts';
import type { FilterStatus, HttpFilterFactory } from '../../../http/filter.ts';

/** What a filter's module gets besides its configuration. */
export interface TypeScriptFilterContext {
  /** What hooks answer; a module needs no import of ours. */
  readonly FilterStatus: typeof FilterStatus;
  readonly log: Logger;
  /** `node.id` and `node.cluster` of the proxy. */
  readonly node: { readonly id: string; readonly cluster: string };
}

/** The default export of a filter's module. Throws Error for a configuration that it refuses. */
export type TypeScriptFilterModule = (
  config: JsonObject,
  context: TypeScriptFilterContext,
) => HttpFilterFactory;

const require = createRequire(import.meta.url);

/** Code that others may write would run with the sidecar's keys in reach. */
function checkOwner(path: string): void {
  const { uid, mode } = statSync(path);
  const own = process.getuid?.() ?? 0;
  if (uid !== 0 && uid !== own) throw new Error(`${path} belongs to user ${uid}, not to root or user ${own}`);
  if ((mode & 0o022) !== 0 && (mode & 0o1000) === 0)
    throw new Error(`${path} can be written by others (mode ${(mode & 0o777).toString(8)})`);
}

/** @throws Error when the file is not there, not safe to run, or not a filter. */
export function loadFilterModule(path: string): TypeScriptFilterModule {
  if (!isAbsolute(path)) throw new Error(`path ${JSON.stringify(path)} is not absolute`);
  checkOwner(dirname(path));
  checkOwner(path);
  const { default: create } = require(path) as { readonly default?: unknown };
  if (typeof create !== 'function') throw new Error(`${path} has no function as its default export`);
  return create as TypeScriptFilterModule;
}
