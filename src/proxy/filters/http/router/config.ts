/** `envoy.filters.http.router`: the terminal filter that sends requests upstream. */
import { fromBinary } from '@bufbuild/protobuf';
import { RouterSchema } from '#api/gen/envoy/extensions/filters/http/router/v3/router_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { FactoryContext, HttpFilterExtension } from '../../../factory_context.ts';
import type { TerminalHttpFilterFactory } from '../../../http/filter.ts';
import { RouterFilter, type RouterShared } from './router.ts';
import { RouterStats } from './stats.ts';
import { refuseFields } from '../../../network/refused_fields.ts';

/** Headers that `strict_check_headers` may name. */
const strictHeaders: ReadonlySet<string> = new Set([
  'x-envoy-upstream-rq-timeout-ms',
  'x-envoy-upstream-rq-per-try-timeout-ms',
  'x-envoy-max-retries',
  'x-envoy-retry-grpc-on',
  'x-envoy-retry-on',
]);

function createFactory(value: Uint8Array, context: FactoryContext): TerminalHttpFilterFactory {
  const proto = fromBinary(RouterSchema, value);
  refuseFields(proto, 'router.');
  if (proto.upstreamHttpFilters.some((filter) => filter.name !== 'envoy.filters.http.upstream_codec'))
    throw new Error('router.upstream_http_filters are not supported');
  for (const name of proto.strictCheckHeaders)
    if (!strictHeaders.has(name)) throw new Error(`router.strict_check_headers: ${name} cannot be checked`);
  const shared: RouterShared = {
    clusterManager: context.clusterManager,
    suppressEnvoyHeaders: proto.suppressEnvoyHeaders,
    respectExpectedTimeout: proto.respectExpectedRqTimeout,
    strictCheckHeaders: proto.strictCheckHeaders,
    countsCodes: proto.dynamicStats ?? true,
    random: () => context.random(),
    stats: new RouterStats(context.metrics, context.statPrefix ?? ''),
  };
  return {
    terminal: true,
    createTerminalFilter: (callbacks) => new RouterFilter(callbacks, shared),
  };
}

export const routerFilter = {
  name: 'envoy.filters.http.router',
  typeUrls: [typeUrlOf(RouterSchema)],
  create: (config, context) => createFactory(config.value, context),
} satisfies HttpFilterExtension;
