/** Extension `envoy.filters.http.ext_authz`. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type ExtAuthz,
  ExtAuthzPerRouteSchema,
  ExtAuthzSchema,
} from '#api/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { FactoryContext, HttpFilterExtension } from '../../../factory_context.ts';
import {
  type ClusterAuthzStats,
  ExtAuthzFilter,
  extAuthzName,
  type ExtAuthzShared,
  type ExtAuthzStats,
} from './ext_authz.ts';
import { checkByGrpc, compileGrpcService } from './grpc_service.ts';
import { checkByHttp, compileHttpService } from './http_service.ts';
import { compileRouteSettings, compileSettings } from './settings.ts';

/** Clusters whose counters are kept at hand. */
const maxClusters = 10_000;

/** `stat_prefix`, which tells several guards of one chain apart. */
function prefixLabel(prefix: string): Readonly<Record<string, string>> {
  return prefix === '' ? {} : { envoy_ext_authz_prefix: prefix };
}

function statsOf(context: FactoryContext, prefix: string): ExtAuthzStats {
  const counter = (name: string): Counter =>
    context.metrics.counter(`envoy_http_ext_authz_${name}`, {
      envoy_http_conn_manager_prefix: context.statPrefix ?? '',
      ...prefixLabel(prefix),
    });
  return {
    ok: counter('ok'),
    denied: counter('denied'),
    error: counter('error'),
    disabled: counter('disabled'),
    failureModeAllowed: counter('failure_mode_allowed'),
    invalid: counter('invalid'),
  };
}
type Counter = ExtAuthzStats['ok'];

function clusterStatsOf(context: FactoryContext, prefix: string): ExtAuthzShared['clusterStats'] {
  const known = new Map<string, ClusterAuthzStats>();
  return (cluster) => {
    let stats = known.get(cluster);
    if (stats === undefined) {
      const counter = (name: string): Counter =>
        context.metrics.counter(`envoy_cluster_ext_authz_${name}`, {
          cluster_name: cluster,
          ...prefixLabel(prefix),
        });
      stats = {
        ok: counter('ok'),
        denied: counter('denied'),
        error: counter('error'),
        failureModeAllowed: counter('failure_mode_allowed'),
        invalid: counter('invalid'),
      };
      if (known.size >= maxClusters) known.clear();
      known.set(cluster, stats);
    }
    return stats;
  };
}

function checkOf(proto: ExtAuthz, context: FactoryContext): ExtAuthzShared['check'] {
  const { services } = proto;
  const clusters = context.clusterManager;
  if (services.case === 'httpService') {
    const authorizer = compileHttpService(services.value, proto);
    return (request, info, _route, _extensions, body, onVerdict) =>
      checkByHttp(authorizer, clusters, request, body, info.connection, onVerdict);
  }
  if (services.case === 'grpcService') {
    const authorizer = compileGrpcService(services.value, proto);
    return (request, info, route, extensions, body, onVerdict) =>
      checkByGrpc(authorizer, clusters, request, info, route, extensions, body, onVerdict);
  }
  throw new Error('grpc_service or http_service is missing');
}

export const extAuthz = {
  name: extAuthzName,
  typeUrls: [typeUrlOf(ExtAuthzSchema), typeUrlOf(ExtAuthzPerRouteSchema)],
  create(config, context, filterName) {
    const proto = fromBinary(ExtAuthzSchema, config.value);
    const shared: ExtAuthzShared = {
      filterName,
      settings: compileSettings(proto, context.runtime),
      stats: statsOf(context, proto.statPrefix),
      clusterStats: clusterStatsOf(context, proto.statPrefix),
      check: checkOf(proto, context),
      random: () => context.random(),
    };
    return { createFilter: (callbacks) => new ExtAuthzFilter(callbacks, shared) };
  },
  createRouteConfig: (config) => compileRouteSettings(fromBinary(ExtAuthzPerRouteSchema, config.value)),
} as const satisfies HttpFilterExtension;
