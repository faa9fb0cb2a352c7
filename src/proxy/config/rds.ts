/** Route configurations of a worker: inline, or by RDS; a new version takes effect with the next request. */
import type { RouteConfiguration } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { typeUrls } from '#xds/type_url.ts';
import type { FactoryContext } from '../factory_context.ts';
import { type RouteBuildContext, type RouteTable, buildRouteTable } from '../router/route_config.ts';
import type { SubscriptionPort } from './config_update.ts';
import { type LiveResource, NamedResources } from './named_resources.ts';
import { RouteDecoder } from './route_decoder.ts';

/** The `routeConfig` of one listener while it is built, and whether its routes are there. */
export interface RouteScope {
  readonly routeConfig: FactoryContext['routeConfig'];
  readonly settled: () => boolean;
  /** No more routes are asked for: the listener is built. */
  close(): void;
  /** The listener was refused: gives up what it had asked for. */
  abort(): void;
}

export class RouteDiscovery {
  readonly #context: RouteBuildContext;
  readonly resources: NamedResources<RouteTable>;

  constructor(port: SubscriptionPort, context: RouteBuildContext) {
    this.#context = context;
    const decoder = new RouteDecoder(context);
    this.resources = new NamedResources(typeUrls.rds, port, (bytes, _name, previous) =>
      decoder.decode(bytes, previous),
    );
  }

  /** @param onChange a route configuration of the scope came, or will not come. */
  scope(onChange: () => void): RouteScope {
    let open = true;
    const asked: LiveResource<RouteTable>[] = [];
    const routeConfig: FactoryContext['routeConfig'] = <T>(
      source: Parameters<FactoryContext['routeConfig']>[0],
    ) => {
      if ('inline' in source) {
        const current = buildRouteTable(source.inline as RouteConfiguration, this.#context) as T;
        return { current, close() {} };
      }
      if (!open) throw new Error('routes are asked for while a listener is built, not later');
      const live = this.resources.get(source.rds, source.configSource, onChange);
      asked.push(live);
      return live as unknown as LiveResource<T>;
    };
    return {
      routeConfig,
      settled: () => asked.every((live) => live.settled),
      close: () => {
        open = false;
      },
      abort: () => {
        open = false;
        for (const live of asked) live.close();
      },
    };
  }
}
