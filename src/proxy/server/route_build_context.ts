/** What building routes needs from outside: the filters that are compiled in. */
import { readFileSync } from 'node:fs';
import type { FactoryContext, HttpFilterExtension } from '../factory_context.ts';
import { readTypedConfig } from '../factory_context.ts';
import type { RouteBuildContext } from '../router/route_config.ts';

/** `typed_per_filter_config` is decoded by the extension of its type; what nobody knows is left to `is_optional`. */
export function routeBuildContext(context: Omit<FactoryContext, 'routeConfig'>): RouteBuildContext {
  const { registry } = context;
  const own: FactoryContext = {
    ...context,
    routeConfig() {
      throw new Error('a filter configuration of a route has no routes of its own');
    },
  };
  return {
    runtime: context.runtime,
    ...(context.replyBody === undefined ? {} : { replyBody: context.replyBody }),
    readFile: (path) => readFileSync(path, 'utf8'),
    filterConfig(filterName, any, place) {
      const typed = readTypedConfig(any);
      const found = registry.find('http_filter', typed.typeUrl) as HttpFilterExtension | undefined;
      if (found?.createRouteConfig === undefined) return undefined;
      try {
        return found.createRouteConfig(typed, { ...own, scope: `${filterName}\0${place}` });
      } catch (error) {
        throw new Error(`${filterName}: ${(error as Error).message}`, { cause: error });
      }
    },
  };
}
