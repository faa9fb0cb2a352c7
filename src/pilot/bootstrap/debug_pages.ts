/** The debug pages of the control plane (Istio's /debug paths). They show configuration, never keys or tokens. */
import type { ConfigStore } from '#config/store/store.ts';
import { kinds } from '#config/kinds/kinds.ts';
import { allEndpoints } from '../model/endpoint_index.ts';
import { typeUrls } from '#xds/type_url.ts';
import type { Connection } from '../xds/connection.ts';
import { proxyName } from '../xds/connection.ts';
import type { DiscoveryServer } from '../xds/discovery_server.ts';
import type { Generator } from '../xds/generator.ts';
import { type Page, type PageHandler, jsonPage } from './http_server.ts';
import { resourceJson } from './resource_json.ts';
import { syncz } from './syncz.ts';

/** What the pages read. */
export interface DebugSources {
  readonly server: DiscoveryServer;
  readonly store: ConfigStore;
  readonly generators: readonly Generator[];
  /** Pages of other parts. */
  readonly extra?: readonly DebugPage[];
}

/** One page and its line in the list. */
export interface DebugPage {
  readonly path: string;
  readonly help: string;
  readonly handler: PageHandler;
}

/** Objects that hold secrets are listed by name only. */
const secretKinds: ReadonlySet<string> = new Set(['Secret']);

function configz({ store }: DebugSources): Page {
  const objects = kinds.flatMap(({ kind }) =>
    store.list(kind).map(({ apiVersion, metadata, body }) => ({
      apiVersion,
      kind,
      metadata,
      ...(secretKinds.has(kind) ? {} : body),
    })),
  );
  return jsonPage(objects);
}

function registryz({ server }: DebugSources): Page {
  return jsonPage(server.context.services.services);
}

function endpointz({ server }: DebugSources): Page {
  const { services, endpoints } = server.context;
  return jsonPage(
    services.services.map((service) => ({
      svc: service.hostname,
      ports: Object.fromEntries(allEndpoints(endpoints, service)),
    })),
  );
}

function mesh({ server }: DebugSources): Page {
  return jsonPage(server.context.mesh.config);
}

function connections({ server }: DebugSources): Page {
  const list = [...server.connections].map(({ id, peer, caller, connectedAt }) => ({
    connectionId: id,
    connectedAt: new Date(connectedAt).toISOString(),
    address: peer.address,
    transport: peer.kind,
    identities: caller?.identities ?? [],
  }));
  return jsonPage({ totalClients: list.length, clients: list });
}

function adsz({ server }: DebugSources): Page {
  const clients = [...server.connections].map((connection) => ({
    connectionId: connection.id,
    connectedAt: new Date(connection.connectedAt).toISOString(),
    address: connection.peer.address,
    metadata: connection.proxy.metadata,
    watches: Object.fromEntries(
      server.xds.status(connection).map(({ typeUrl, names, wildcard }) => [typeUrl, wildcard ? '*' : names]),
    ),
  }));
  return jsonPage({ totalClients: clients.length, clients });
}

function pushStatus({ server }: DebugSources): Page {
  const failures = [...server.connections].flatMap(({ id, failures }) =>
    [...failures].map(([typeUrl, detail]) => ({ proxy: id, typeUrl, detail })),
  );
  const rejections = [...server.connections].flatMap((connection) =>
    server.xds
      .status(connection)
      .flatMap(({ typeUrl, nacked }) =>
        nacked === undefined ? [] : [{ proxy: connection.id, typeUrl, detail: nacked.detail }],
      ),
  );
  return jsonPage({ pushes: server.pushes, ...server.progress(), failures, rejections });
}

/** The connection a page asks for by `?proxyID=`: connection id, node id, or `pod.namespace`. */
function findConnection(server: DiscoveryServer, query: URLSearchParams): Connection | Page {
  const wanted = query.get('proxyID') ?? '';
  const all = [...server.connections];
  const found = all.findLast(
    ({ id, node, proxy }) => id === wanted || node.id === wanted || proxyName(proxy) === wanted,
  );
  if (found !== undefined) return found;
  const known = all.map(({ proxy }) => `  ${proxyName(proxy)}\n`).join('');
  if (wanted === '') return { status: 400, body: `say which proxy by ?proxyID=\n${known}` };
  return { status: 404, body: `no proxy ${JSON.stringify(wanted)} is connected here\n${known}` };
}

function isPage(value: Connection | Page): value is Page {
  return 'body' in value;
}

/** Resources of one type as JSON, as the proxy would get them now. */
async function resourcesOf(
  sources: DebugSources,
  connection: Connection,
  typeUrl: string,
): Promise<readonly unknown[]> {
  const generator = sources.generators.find((candidate) => candidate.typeUrl === typeUrl);
  if (generator === undefined) return [];
  const names = sources.server.xds.names(connection, typeUrl);
  const resources = generator.generate(connection.proxy, sources.server.context, names);
  return await resourceJson(typeUrl, resources);
}

/** A page with the resources of one type for one proxy. */
function typePage(sources: DebugSources, typeUrl: string): PageHandler {
  return async (query) => {
    const connection = findConnection(sources.server, query);
    return isPage(connection) ? connection : jsonPage(await resourcesOf(sources, connection, typeUrl));
  };
}

/** Everything a proxy would get now, in the shape of Envoy's config_dump. */
async function configDump(sources: DebugSources, query: URLSearchParams): Promise<Page> {
  const connection = findConnection(sources.server, query);
  if (isPage(connection)) return connection;
  const wrap = async (typeUrl: string, key: string, list: string) => {
    const resources = await resourcesOf(sources, connection, typeUrl);
    return { [list]: resources.map((resource) => ({ [key]: resource })) };
  };
  const admin = 'type.googleapis.com/envoy.admin.v3';
  const listeners = await resourcesOf(sources, connection, typeUrls.lds);
  return jsonPage({
    configs: [
      {
        '@type': `${admin}.ClustersConfigDump`,
        ...(await wrap(typeUrls.cds, 'cluster', 'dynamicActiveClusters')),
      },
      {
        '@type': `${admin}.ListenersConfigDump`,
        dynamicListeners: listeners.map((listener) => ({
          name: (listener as { name?: string }).name,
          activeState: { listener },
        })),
      },
      {
        '@type': `${admin}.RoutesConfigDump`,
        ...(await wrap(typeUrls.rds, 'routeConfig', 'dynamicRouteConfigs')),
      },
      {
        '@type': `${admin}.EndpointsConfigDump`,
        ...(await wrap(typeUrls.eds, 'endpointConfig', 'dynamicEndpointConfigs')),
      },
    ],
  });
}

function forceDisconnect({ server }: DebugSources, query: URLSearchParams): Page {
  const connection = findConnection(server, query);
  if (isPage(connection)) return connection;
  server.xds.disconnect(connection);
  return { body: `disconnected ${connection.id}\n` };
}

/** All debug pages, each with its line in the list at /debug. */
export function debugPages(sources: DebugSources): Map<string, PageHandler> {
  const { server } = sources;
  const pages: readonly (readonly [path: string, help: string, handler: PageHandler])[] = [
    [
      '/debug/syncz',
      'state of each proxy: sent and accepted versions',
      () => jsonPage(syncz(server.status())),
    ],
    ['/debug/adsz', 'connected proxies and what they watch', () => adsz(sources)],
    ['/debug/connections', 'connected proxies and their identities', () => connections(sources)],
    ['/debug/configz', 'objects of the configuration', () => configz(sources)],
    ['/debug/registryz', 'services of the registries', () => registryz(sources)],
    ['/debug/endpointz', 'endpoints of all services', () => endpointz(sources)],
    ['/debug/edsz', 'endpoints as a proxy gets them, ?proxyID=', typePage(sources, typeUrls.eds)],
    ['/debug/ndsz', 'names as a proxy gets them, ?proxyID=', typePage(sources, typeUrls.nds)],
    ['/debug/config_dump', 'all that a proxy gets, ?proxyID=', (query) => configDump(sources, query)],
    ['/debug/push_status', 'the last push: progress, failures, refusals', () => pushStatus(sources)],
    ['/debug/mesh', 'mesh configuration', () => mesh(sources)],
    [
      '/debug/force_disconnect',
      'ends the stream of a proxy, ?proxyID=',
      (query) => forceDisconnect(sources, query),
    ],
    ...(sources.extra ?? []).map(({ path, help, handler }) => [path, help, handler] as const),
  ];
  const list = pages.map(([path, help]) => `${path.padEnd(26)}${help}\n`).join('');
  const table = new Map<string, PageHandler>(pages.map(([path, , handler]) => [path, handler]));
  for (const path of ['/debug', '/debug/', '/debug/list']) table.set(path, () => ({ body: list }));
  return table;
}
