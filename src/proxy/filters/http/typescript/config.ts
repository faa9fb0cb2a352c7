/**
 * Extension `trysail.filters.http.typescript`: a filter of the user's, loaded by path. Its configuration travels as TypedStruct
 * of `trysail.v1.TypeScriptFilter`:
 *
 *   path         absolute path of a .ts or .js module whose default export makes the filter (TypeScriptFilterModule)
 *   config       what the module gets; default {}
 *   time_budget  longest call of a hook, such as `2ms`; default 5ms
 *   failure      `open` (default): requests pass when the filter throws or is switched off; `closed`: they are answered 500
 */
import { isMainThread } from 'node:worker_threads';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { FilterStatus } from '../../../http/filter.ts';
import { Guard, type GuardSettings } from './guard.ts';
import { loadFilterModule } from './module.ts';

export const typeScriptFilterType = 'type.googleapis.com/trysail.v1.TypeScriptFilter';

const defaultBudgetMs = 5;
const fields = new Set(['path', 'config', 'time_budget', 'failure']);

function budgetOf(value: JsonValue | undefined): number {
  if (value === undefined) return defaultBudgetMs;
  const found = typeof value === 'string' ? /^(\d{1,6}(?:\.\d{1,6})?)(ms|s)$/.exec(value) : null;
  if (found === null)
    throw new Error(`time_budget: expected a duration such as "2ms", found ${JSON.stringify(value)}`);
  return Number(found[1]) * (found[2] === 's' ? 1000 : 1);
}

/** @throws Error that names the field which cannot be used. */
export function readSettings(
  struct: JsonObject,
  name: string,
): GuardSettings & { readonly path: string; readonly config: JsonObject } {
  for (const field of Object.keys(struct))
    if (!fields.has(field)) throw new Error(`unknown field ${JSON.stringify(field)}`);
  const { path, config = {}, failure = 'open' } = struct;
  if (typeof path !== 'string' || path === '') throw new Error('path: expected the path of a module');
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new Error('config: expected an object');
  if (failure !== 'open' && failure !== 'closed')
    throw new Error(`failure: expected open or closed, found ${JSON.stringify(failure)}`);
  return { name, path, config, failure, budgetMs: budgetOf(struct['time_budget']) };
}

export const typeScriptFilter = {
  name: 'trysail.filters.http.typescript',
  typeUrls: [typeScriptFilterType],
  readsStruct: true,
  create({ struct = {} }, context, filterName) {
    const settings = readSettings(struct, filterName);
    if (isMainThread)
      throw new Error(
        'TypeScript filters run in worker threads only: start the proxy with --concurrency 2 or more',
      );
    const log = context.log;
    const factory = loadFilterModule(settings.path)(settings.config, {
      FilterStatus,
      log,
      node: { id: context.node.id, cluster: context.node.cluster },
    });
    if (typeof factory?.createFilter !== 'function')
      throw new Error(`${settings.path}: the module's function gave no object with createFilter`);
    const labels = { filter: filterName };
    const { metrics } = context;
    const guard = new Guard(settings, factory, log, {
      errors: metrics.counter('envoy_typescript_filter_errors', labels),
      overBudget: metrics.counter('envoy_typescript_filter_over_budget', labels),
      switchedOff: metrics.gauge('envoy_typescript_filter_switched_off', labels),
    });
    return {
      createFilter: (callbacks) => guard.createFilter(callbacks),
      close: () => void guard.run('close', () => factory.close?.()),
    };
  },
} as const satisfies HttpFilterExtension;
