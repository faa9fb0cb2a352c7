/** The server against real Envoy: it must accept what we send, ask as we expect, and its refusal must reach us. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import { type DescMessage, type JsonValue, fromJson } from '@bufbuild/protobuf';
import { ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { ClusterLoadAssignmentSchema } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { RouteConfigurationSchema } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import type { XdsProtocol } from '../transport.ts';
import { typeUrls } from '../type_url.ts';
import { registerAds } from './discovery_services.ts';
import { encodeResource } from './encoded_resource.ts';
import { GrpcServer } from './grpc_server.ts';
import { XdsServer } from './server.ts';
import { type SnapshotClient, SnapshotSource } from './snapshot_source.ts';
import type { ServedResource } from './source.ts';

const { cds, eds, lds, rds } = typeUrls;

function findEnvoy(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'envoy'));
  return [process.env['TRYSAIL_ENVOY'] ?? '', ...folders].find((path) => {
    try {
      if (path !== '') accessSync(path, constants.X_OK);
      return path !== '';
    } catch {
      return false;
    }
  });
}

const envoy = findEnvoy();
const missing = envoy === undefined ? 'no Envoy: set TRYSAIL_ENVOY or put envoy on the PATH' : false;
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

function bootstrap(xdsPort: number, protocol: XdsProtocol): string {
  return JSON.stringify({
    node: { id: 'envoy', cluster: 'test' },
    admin: { address: { socketAddress: { address: '127.0.0.1', portValue: 0 } } },
    dynamicResources: {
      adsConfig: {
        apiType: protocol === 'delta' ? 'DELTA_GRPC' : 'GRPC',
        transportApiVersion: 'V3',
        grpcServices: [{ envoyGrpc: { clusterName: 'xds' } }],
        setNodeOnFirstMessageOnly: true,
      },
      cdsConfig: ads,
      ldsConfig: ads,
    },
    staticResources: {
      clusters: [
        {
          name: 'xds',
          type: 'STATIC',
          typedExtensionProtocolOptions: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
              explicitHttpConfig: { http2ProtocolOptions: {} },
            },
          },
          loadAssignment: {
            clusterName: 'xds',
            endpoints: [
              {
                lbEndpoints: [
                  { endpoint: { address: { socketAddress: { address: '127.0.0.1', portValue: xdsPort } } } },
                ],
              },
            ],
          },
        },
      ],
    },
  });
}

/** Starts Envoy; gives the URL of its admin server. */
async function startEnvoy(t: TestContext, config: string): Promise<string> {
  const args = ['--config-yaml', config, '--disable-hot-restart', '--concurrency', '1', '-l', 'info'];
  const child = spawn(envoy ?? '', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await until(
    () => /admin address: (\S+)/.test(log) || child.exitCode !== null,
    () => log,
  );
  const admin = /admin address: (\S+)/.exec(log)?.[1];
  if (admin === undefined) assert.fail(log);
  return `http://${admin}`;
}

/** URL of the first listener, empty while there is none. */
async function listenerUrl(admin: string): Promise<string> {
  const response = await fetch(`${admin}/listeners?format=json`);
  const { listener_statuses: statuses } = (await response.json()) as {
    listener_statuses?: { local_address: { socket_address: { port_value: number } } }[];
  };
  const port = statuses?.[0]?.local_address.socket_address.port_value;
  return port === undefined ? '' : `http://127.0.0.1:${port}/`;
}

async function stat(admin: string, name: string): Promise<number> {
  const text = await (await fetch(`${admin}/stats?filter=^${name}$`)).text();
  return Number(text.split(':')[1]);
}

async function until(condition: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) assert.fail(`timed out: ${what()}`);
    await sleep(20);
  }
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
    const admin = await startEnvoy(t, bootstrap(xdsPort, protocol));
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
