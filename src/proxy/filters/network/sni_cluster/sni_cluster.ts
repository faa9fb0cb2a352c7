/**
 * Sends a connection to the cluster that its server name is the name of (envoy.filters.network.sni_cluster): gateways
 * between networks pass mTLS through by it. tcp_proxy behind it reads what is set here.
 */
import { SniClusterSchema } from '#api/gen/envoy/extensions/filters/network/sni_cluster/v3/sni_cluster_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { NetworkFilterExtension } from '../../../factory_context.ts';
import { NetworkFilterStatus, type NetworkReadFilter } from '../../../network/filter.ts';
import { tcpProxyClusterKey } from '../tcp_proxy/cluster_override.ts';

const filter: NetworkReadFilter = {
  onNewConnection({ connection: { info } }) {
    if (info.requestedServerName !== '') {
      info.dynamicMetadata ??= new Map();
      info.dynamicMetadata.set(tcpProxyClusterKey, { name: info.requestedServerName });
    }
    return NetworkFilterStatus.continue;
  },
};

export const sniCluster = {
  name: 'envoy.filters.network.sni_cluster',
  typeUrls: [typeUrlOf(SniClusterSchema)],
  create: () => ({ terminal: false, create: () => filter }),
} satisfies NetworkFilterExtension;
