/** Extension `istio.stats` on TCP; its configuration travels as TypedStruct. */
import { networkFilter } from '#api/well_known.ts';
import type { NetworkFilterExtension } from '../../../factory_context.ts';
import { statsPluginType } from '../../istio_stats/plugin_config.ts';
import { StatsShared } from '../../istio_stats/stats_shared.ts';
import { TcpStatsFilter } from './istio_stats.ts';

export const networkIstioStats = {
  name: networkFilter.istioStats,
  typeUrls: [statsPluginType],
  readsStruct: true,
  create(config, context) {
    const shared = new StatsShared(config, context);
    return { terminal: false, create: () => new TcpStatsFilter(shared) };
  },
} as const satisfies NetworkFilterExtension;
