/** gRPC transports to the discovery servers that static clusters of the bootstrap name. */
import type { Cluster } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { type GrpcAddress, GrpcClient } from '#xds/grpc_client.ts';
import { type ServicePaths, adsPaths, grpcTransport, sdsPaths } from '#xds/grpc_transport.ts';
import type { AdsTransport } from '#xds/transport.ts';
import { typeUrls } from '#xds/type_url.ts';

function paths(service: string, stream: string, delta: string): ServicePaths {
  return { sotw: `/envoy.service.${service}/${stream}`, delta: `/envoy.service.${service}/${delta}` };
}

/** Services of single types, for sources that are not ADS. */
const servicePaths: Readonly<Record<string, ServicePaths>> = {
  [typeUrls.cds]: paths('cluster.v3.ClusterDiscoveryService', 'StreamClusters', 'DeltaClusters'),
  [typeUrls.eds]: paths('endpoint.v3.EndpointDiscoveryService', 'StreamEndpoints', 'DeltaEndpoints'),
  [typeUrls.lds]: paths('listener.v3.ListenerDiscoveryService', 'StreamListeners', 'DeltaListeners'),
  [typeUrls.rds]: paths('route.v3.RouteDiscoveryService', 'StreamRoutes', 'DeltaRoutes'),
  [typeUrls.sds]: sdsPaths,
};

/** First endpoint of a static cluster. */
export function endpointOf(cluster: Cluster): GrpcAddress | undefined {
  for (const { lbEndpoints } of cluster.loadAssignment?.endpoints ?? []) {
    for (const { hostIdentifier } of lbEndpoints) {
      const address = hostIdentifier.case === 'endpoint' ? hostIdentifier.value.address?.address : undefined;
      if (address?.case === 'pipe') return { path: address.value.path };
      if (address?.case === 'socketAddress' && address.value.portSpecifier.case === 'portValue')
        return { host: address.value.address, port: address.value.portSpecifier.value };
    }
  }
  return undefined;
}

/** Transports by cluster, one connection per cluster. TLS towards a discovery server is the agent's part. */
export class GrpcSources {
  readonly #clusters: ReadonlyMap<string, Cluster>;
  readonly #clients = new Map<string, GrpcClient>();

  constructor(clusters: readonly Cluster[]) {
    this.#clusters = new Map(clusters.map((cluster) => [cluster.name, cluster]));
  }

  /** @throws Error when the cluster is not static, has no endpoint or wants TLS. */
  transport(name: string, typeUrl: string | undefined): AdsTransport {
    const service = typeUrl === undefined ? adsPaths : servicePaths[typeUrl];
    if (service === undefined) throw new Error(`no discovery service is known for ${typeUrl}`);
    return grpcTransport(this.#client(name), service);
  }

  #client(name: string): GrpcClient {
    let client = this.#clients.get(name);
    if (client !== undefined) return client;
    const cluster = this.#clusters.get(name);
    if (cluster === undefined) throw new Error(`config source: no static cluster named ${name}`);
    const address = endpointOf(cluster);
    if (address === undefined) throw new Error(`config source: cluster ${name} has no endpoint`);
    if (cluster.transportSocket !== undefined)
      throw new Error(
        `config source: cluster ${name} has a transport socket; connect through a local socket`,
      );
    client = new GrpcClient({ address });
    this.#clients.set(name, client);
    return client;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
