/** The server against real Envoy: it must accept what we send, ask as we expect, and its refusal must reach us. */
import assert from 'node:assert/strict';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type DescMessage, type JsonValue, fromJson } from '@bufbuild/protobuf';
import { findEnvoy } from '#base/find_envoy.ts';
import { ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { ClusterLoadAssignmentSchema } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { RouteConfigurationSchema } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { envoyBootstrap, listenerUrl, missingEnvoy, startEnvoy, stat, until } from '../envoy_for_tests.ts';
import type { XdsProtocol } from '../transport.ts';
import { typeUrls } from '../type_url.ts';
import { registerAds } from './discovery_services.ts';
import { encodeResource } from './encoded_resource.ts';
import { GrpcServer } from './grpc_server.ts';
import { XdsServer } from './server.ts';
import { type SnapshotClient, SnapshotSource } from './snapshot_source.ts';
import type { ServedResource } from './source.ts';

const { cds, eds, lds, rds } = typeUrls;

const envoy = findEnvoy(process.env);
const missing = envoy === undefined ? missingEnvoy : false;
if (missing !== false && process.env['CI'] === 'true') throw new Error(missing);

const registry = createTypeRegistry();

function resource(schema: DescMessage, name: string, json: JsonValue): ServedResource {
  return encodeResource(schema, name, fromJson(schema, json, { registry }));
}

const ads = { ads: {}, resourceApiVersion: 'V3' };

function cluster(name: string, connectTimeout = '1s'): ServedResource {
  return resource(ClusterSchema, name, {
    name,
    type: 'EDS',
    connectTimeout,
    edsClusterConfig: { edsConfig: ads },
  });
}

function assignment(clusterName: string, port: number): ServedResource {
  const address = { socketAddress: { address: '127.0.0.1', portValue: port } };
  return resource(ClusterLoadAssignmentSchema, clusterName, {
    clusterName,
    endpoints: [{ lbEndpoints: [{ endpoint: { address } }] }],
  });
}

function listener(name: string, routeConfigName: string): ServedResource {
  const prefix = 'type.googleapis.com/envoy.extensions.filters';
  const typedConfig = {
    '@type': `${prefix}.network.http_connection_manager.v3.HttpConnectionManager`,
    statPrefix: 'in',
    rds: { routeConfigName, configSource: ads },
    httpFilters: [
      { name: 'envoy.filters.http.router', typedConfig: { '@type': `${prefix}.http.router.v3.Router` } },
    ],
  };
  return resource(ListenerSchema, name, {
    name,
    address: { socketAddress: { address: '127.0.0.1', portValue: 0 } },
    filterChains: [{ filters: [{ name: 'hcm', typedConfig }] }],
  });
}

function route(name: string, clusterName: string): ServedResource {
  return resource(RouteConfigurationSchema, name, {
    name,
    virtualHosts: [
      { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: clusterName } }] },
    ],
  });
}

async function backend(t: TestContext, text: string): Promise<number> {
  const server: Server = createServer((_request, response) => response.end(text)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

for (const protocol of ['sotw', 'delta'] satisfies XdsProtocol[]) {
  test(`Envoy takes, changes, refuses and recovers over ${protocol}`, { skip: missing }, async (t) => {
    const nacks: string[] = [];
    const acks = new Set<string>();
    class Source extends SnapshotSource {
      onNack(_: SnapshotClient, _type: string, _nonce: string, _version: string, detail: string): void {
        nacks.push(detail);
      }
      onAck(_: SnapshotClient, typeUrl: string): void {
        acks.add(typeUrl);
      }
    }
    const source = new Source();
    const [red, blue] = [await backend(t, 'red'), await backend(t, 'blue')];
    source.set(cds, [cluster('red'), cluster('blue')]);
    source.set(eds, [assignment('red', red), assignment('blue', blue)]);
    source.set(lds, [listener('in', 'route')]);
    source.set(rds, [route('route', 'red')]);
    const server = new XdsServer({ source });
    const grpc = new GrpcServer({ routes: (router) => registerAds(router, server) });
    const xdsPort = await grpc.listen({ host: '127.0.0.1', port: 0 });
    t.after(() => grpc.close());
    const push = async () => {
      for (const client of server.clients) await server.push(client, undefined, undefined);
    };
    const admin = await startEnvoy(
      t,
      envoy ?? '',
      envoyBootstrap({ id: 'envoy', cluster: 'test' }, protocol, xdsPort),
    );
    let url = '';
    await until(
      async () => (url = await listenerUrl(admin)) !== '',
      () => `a listener; refused: ${nacks.join()}`,
    );
    const ask = async () => await (await fetch(url)).text();
    await until(
      async () => (await ask()) === 'red',
      () => 'the first route',
    );
    await until(
      () => [cds, eds, lds, rds].every((type) => acks.has(type)),
      () => `ACKs: ${[...acks].join()}`,
    );

    source.set(rds, [route('route', 'blue')]);
    await push();
    await until(
      async () => (await ask()) === 'blue',
      () => 'the changed route',
    );

    // A changed cluster warms at once only if its unchanged endpoints come again; else after 15 s.
    source.set(cds, [cluster('red'), cluster('blue', '2s')]);
    await push();
    const warmed = async () =>
      (await stat(admin, 'cluster_manager.cluster_modified')) > 0 &&
      (await stat(admin, 'cluster_manager.warming_clusters')) === 0;
    await until(warmed, () => 'the changed cluster to warm');
    assert.equal(await ask(), 'blue');
    source.set(eds, [assignment('red', red), assignment('blue', red)]);
    await push();
    await until(
      async () => (await ask()) === 'red',
      () => 'the moved endpoints',
    );
    assert.deepEqual(nacks, []);

    // An address that is no IP: Envoy refuses the listener by name and keeps the old one.
    const broken = resource(ListenerSchema, 'in', {
      name: 'in',
      address: { socketAddress: { address: 'nowhere', portValue: 1 } },
      filterChains: [{}],
    });
    source.set(lds, [broken]);
    await push();
    await until(
      () => nacks.length > 0,
      () => 'a refusal',
    );
    assert.match(nacks[0]!, /in: .*nowhere/);
    assert.equal(await ask(), 'red');
    source.set(lds, [listener('in', 'route')]);
    await push();
    const [client] = server.clients;
    const state = () => server.status(client!).find(({ typeUrl }) => typeUrl === lds);
    await until(
      () => state()?.nacked === undefined,
      () => 'recovery',
    );

    // A new server knows nothing of the old streams.
    for (const one of server.clients) server.disconnect(one);
    await until(
      () => [...server.clients].length === 0,
      () => 'disconnection',
    );
    await until(
      () => [...server.clients].some((one) => server.status(one).length >= 4),
      () => 'reconnection',
    );
    assert.equal(await ask(), 'red');
    assert.equal(nacks.length, 1);
  });
}
