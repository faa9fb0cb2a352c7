/** Extension `istio.stats` on HTTP; its configuration travels as TypedStruct. */
import { httpFilter } from '#api/well_known.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { statsPluginType } from '../../istio_stats/plugin_config.ts';
import { StatsShared } from '../../istio_stats/stats_shared.ts';
import { IstioStatsFilter, RequestStats } from './istio_stats.ts';

export const httpIstioStats = {
  name: httpFilter.istioStats,
  typeUrls: [statsPluginType],
  readsStruct: true,
  create(config, context) {
    const stats = new RequestStats(new StatsShared(config, context), context.clusterManager);
    return { createFilter: (callbacks) => new IstioStatsFilter(stats, callbacks) };
  },
} as const satisfies HttpFilterExtension;
