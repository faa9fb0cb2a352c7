/** Fixtures of this room's tests: a control plane in memory, a proxy on it, applications and a client that counts. */
import { once } from 'node:events';
import { type Server, createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { type JsonValue, fromJson, toBinary } from '@bufbuild/protobuf';
import { type Bootstrap, BootstrapSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { type Logger, createLogger } from '#base/log.ts';
import { memoryTransport } from '#xds/memory_transport.ts';
import { XdsServer } from '#xds/server/server.ts';
import { type SnapshotClient, SnapshotSource } from '#xds/server/snapshot_source.ts';
import { typeUrls } from '#xds/type_url.ts';
import type { XdsProtocol } from '#xds/transport.ts';
import { startProxy } from './main.ts';
import type { ProxyHandle, ProxyOptions } from './proxy_handle.ts';

export const types = createTypeRegistry();

/** Bytes of a resource given as JSON. */
export function resourceBytes(typeUrl: string, json: JsonValue): Uint8Array {
  const schema = types.getMessage(typeUrl.slice('type.googleapis.com/'.length));
  if (schema === undefined) throw new Error(`no type ${typeUrl}`);
  return toBinary(schema, fromJson(schema, json, { registry: types }));
}

export function bootstrapOf(json: JsonValue): Bootstrap {
  return fromJson(BootstrapSchema, json, { registry: types });
}

/** Resolves when `test` is true; rejects after five seconds. */
export async function until(test: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (await test()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`not in five seconds: ${what}`);
}

/** A free loopback port, given back before it is used. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** An application that answers with its name. */
export async function startApplication(name: string): Promise<{ port: number; server: Server }> {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('x-app', name);
    response.end(name);
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, server };
}

/** Log lines of a proxy, for assertions. */
export class LogLines {
  readonly lines: string[] = [];
  readonly logger: Logger = createLogger({ level: 'debug', write: (line) => void this.lines.push(line) });
}

/** A control plane in memory: resources by type and name, given as JSON. */
export class TestControlPlane {
  readonly source = new SnapshotSource();
  readonly nacks: string[] = [];
  readonly server: XdsServer<SnapshotClient, undefined>;
  readonly #resources = new Map<string, Map<string, Uint8Array>>();

  constructor() {
    const source = Object.assign(this.source, {
      onNack: (_client: unknown, _typeUrl: string, _nonce: string, _version: string, detail: string) => {
        this.nacks.push(detail);
      },
    });
    this.server = new XdsServer<SnapshotClient, undefined>({ source });
  }

  set(typeUrl: string, name: string, json: JsonValue): this {
    return this.setBytes(typeUrl, name, resourceBytes(typeUrl, json));
  }

  setBytes(typeUrl: string, name: string, bytes: Uint8Array): this {
    this.#ofType(typeUrl).set(name, bytes);
    return this;
  }

  remove(typeUrl: string, name: string): this {
    this.#ofType(typeUrl).delete(name);
    return this;
  }

  /** Gives all clients what was set. */
  async push(): Promise<void> {
    for (const [typeUrl, resources] of this.#resources)
      this.source.set(
        typeUrl,
        [...resources].map(([name, bytes]) => ({
          name,
          version: Buffer.from(bytes).toString('base64').slice(-60),
          bytes,
        })),
      );
    await Promise.all(
      [...this.server.clients].map((client) => this.server.push(client, undefined, undefined)),
    );
  }

  #ofType(typeUrl: string): Map<string, Uint8Array> {
    let resources = this.#resources.get(typeUrl);
    if (resources === undefined) {
      resources = new Map();
      this.#resources.set(typeUrl, resources);
    }
    return resources;
  }
}

const ads: JsonValue = { ads: {}, resource_api_version: 'V3', initial_fetch_timeout: '0s' };

/** A bootstrap with ADS from cluster `xds-grpc`. */
export function adsBootstrap(protocol: XdsProtocol): Bootstrap {
  return bootstrapOf({
    node: { id: 'sidecar~127.0.0.1~test.default~default.svc.cluster.local', cluster: 'test' },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    dynamic_resources: {
      ads_config: {
        api_type: protocol === 'delta' ? 'DELTA_GRPC' : 'GRPC',
        transport_api_version: 'V3',
        grpc_services: [{ envoy_grpc: { cluster_name: 'xds-grpc' } }],
      },
      cds_config: ads,
      lds_config: ads,
    },
  });
}

/** A proxy whose control plane is `plane`, and the lines of its log. */
export async function startOn(
  plane: TestControlPlane,
  protocol: XdsProtocol,
  options: Partial<ProxyOptions> = {},
): Promise<{ proxy: ProxyHandle; log: LogLines }> {
  const log = new LogLines();
  const proxy = await startProxy({
    bootstrap: adsBootstrap(protocol),
    transports: new Map([['xds-grpc', memoryTransport(plane.server)]]),
    concurrency: 1,
    // Threads cost half a second of compiling each: the tests that are about them ask for them.
    inline: true,
    log: log.logger,
    logLevel: 'debug',
    ...options,
  });
  return { proxy, log };
}

// === resources ===

export function edsCluster(name: string, more: Record<string, JsonValue> = {}): JsonValue {
  return {
    name,
    type: 'EDS',
    connect_timeout: '1s',
    eds_cluster_config: { eds_config: { ads: {}, resource_api_version: 'V3' } },
    ...more,
  };
}

export function assignment(name: string, ...ports: number[]): JsonValue {
  return {
    cluster_name: name,
    endpoints: [
      {
        lb_endpoints: ports.map((port) => ({
          endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } },
        })),
      },
    ],
  };
}

/** An HTTP listener whose routes come by RDS. */
export function httpListener(
  name: string,
  port: number,
  routes: string,
  more: { hcm?: Record<string, JsonValue>; listener?: Record<string, JsonValue> } = {},
): JsonValue {
  return {
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type':
                'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
              stat_prefix: name,
              rds: { config_source: { ads: {}, resource_api_version: 'V3' }, route_config_name: routes },
              http_filters: [
                {
                  name: 'envoy.filters.http.router',
                  typed_config: {
                    '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
                  },
                },
              ],
              ...more.hcm,
            },
          },
        ],
      },
    ],
    ...more.listener,
  };
}

export function routesTo(name: string, cluster: string): JsonValue {
  return {
    name,
    virtual_hosts: [
      { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] },
    ],
  };
}

/** Listener, routes, cluster and endpoints that lead to one application. */
export function serve(
  plane: TestControlPlane,
  port: number,
  cluster: string,
  appPort: number,
): TestControlPlane {
  return plane
    .set(typeUrls.cds, cluster, edsCluster(cluster))
    .set(typeUrls.eds, cluster, assignment(cluster, appPort))
    .set(typeUrls.lds, 'in', httpListener('in', port, 'routes'))
    .set(typeUrls.rds, 'routes', routesTo('routes', cluster));
}

// === a client ===

/** Requests one after the other on one connection, until told to stop. */
export class KeepAliveClient {
  readonly #socket: Socket;
  #waiting: ((answer: string) => void) | undefined;
  #received = '';
  /** Answers by status line and body. */
  readonly answers = new Map<string, number>();
  closed = false;
  #stop = false;
  readonly done: Promise<void>;

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#onData(text));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      if (!this.#stop) this.closed = true;
      this.#waiting?.('closed');
    });
    this.done = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await this.done;
    this.#socket.destroy();
  }

  async #run(): Promise<void> {
    while (!this.#stop && !this.closed) {
      const answer = await new Promise<string>((resolve) => {
        this.#waiting = resolve;
        this.#socket.write('GET / HTTP/1.1\r\nhost: test\r\n\r\n');
      });
      this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
    }
  }

  #onData(text: string): void {
    this.#received += text;
    const head = this.#received.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(this.#received)?.[1] ?? 0);
    if (this.#received.length < head + 4 + length) return;
    const answer = `${this.#received.slice(9, 12)} ${this.#received.slice(head + 4, head + 4 + length)}`;
    this.#received = this.#received.slice(head + 4 + length);
    this.#waiting?.(answer);
  }
}

/** Status and body of one request. */
export async function get(port: number, path = '/'): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return `${response.status} ${await response.text()}`;
}
