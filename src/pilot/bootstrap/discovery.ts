/** The control plane as one object: ports, authority, discovery, debug pages. Started by `pilot-discovery` and by `up`. */
import type { Logger } from '#base/log.ts';
import { silentLogger } from '#base/log.ts';
import type { ConfigStore } from '#config/store/store.ts';
import type { Authenticator } from '#security/authn/authenticator.ts';
import { clientCertificateAuthenticator } from '#security/authn/client_certificate_authenticator.ts';
import { connectionContextValues } from '#security/authn/connect_request.ts';
import { registerCaService } from '#security/ca/ca_service.ts';
import type { CaKeeper } from '#security/ca/ca_directory.ts';
import { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { prometheusContentType, toPrometheusText } from '#telemetry/prometheus_text.ts';
import { registerAds } from '#xds/server/discovery_services.ts';
import { GrpcServer, type GrpcServerTls } from '#xds/server/grpc_server.ts';
import type { MeshOptions } from '../model/mesh_index.ts';
import type { DebounceOptions } from '../xds/debounce.ts';
import { DiscoveryServer, type Progress } from '../xds/discovery_server.ts';
import { generators } from '../xds/generators.ts';
import { pilotMetrics } from '../xds/metrics.ts';
import type { ProxySync } from '../xds/sync_status.ts';
import { type DebugPage, debugPages } from './debug_pages.ts';
import { type HttpServer, type PageHandler, serveHttp } from './http_server.ts';
import { ServingCertificate } from './serving_certificate.ts';

/** Where a port listens. */
export interface ListenOptions {
  /** IP address; empty: all. Default 127.0.0.1, for `secure` all. */
  readonly address?: string;
  /** Port; 0 picks a free one. */
  readonly port: number;
}

export interface DiscoveryOptions {
  /** All configuration: objects of the mesh, services, pods. */
  readonly store: ConfigStore;
  /** xDS and CA over TLS (Istio 15012). Absent: not served. */
  readonly secure?:
    | (ListenOptions & {
        /** Names and addresses of the server beside `istiod.NAMESPACE.svc`. */
        readonly extraNames?: readonly string[];
      })
    | undefined;
  /** xDS and CA in plaintext (15010), for loopback. Absent: not served. */
  readonly plaintext?: ListenOptions | undefined;
  /** Debug pages and /ready (8080). Absent: not served. */
  readonly http?: ListenOptions | undefined;
  /** Metrics, /version and /debug (15014). Absent: not served. */
  readonly monitoring?: ListenOptions | undefined;
  /** Directory that keeps the authority across restarts; without it, a new root at each start. */
  readonly caDirectory?: string;
  /** In place of a directory: another place that keeps the authority. */
  readonly caKeeper?: CaKeeper;
  /** Default `cluster.local`. */
  readonly trustDomain?: string;
  /** How proxies prove who they are, beside client certificates of our authority, which are always accepted. */
  readonly authenticators?: readonly Authenticator[];
  readonly mesh?: MeshOptions;
  readonly debounce?: DebounceOptions;
  /** Proxies pushed to at one time, default 100. */
  readonly pushThrottle?: number;
  /** Version told in metrics and /version, default `unknown`. */
  readonly version?: string;
  /** Debug pages beside those of the control plane itself. */
  readonly pages?: readonly DebugPage[];
  /** Default a new registry. */
  readonly metrics?: MetricsRegistry;
  readonly log?: Logger;
}

/** Ports in use; 0 for those that are not served. */
export interface DiscoveryPorts {
  readonly secure: number;
  readonly plaintext: number;
  readonly http: number;
  readonly monitoring: number;
}

/** A running control plane. */
export interface Discovery {
  readonly ports: DiscoveryPorts;
  readonly authority: CertificateAuthority;
  /** Roots that verify the control plane and all workloads, PEM. */
  readonly rootCertificatePem: string;
  readonly server: DiscoveryServer;
  readonly metrics: MetricsRegistry;
  /** State of all connected proxies. */
  status(): ProxySync[];
  /** State of one, by `pod.namespace`. */
  proxyStatus(name: string): ProxySync | undefined;
  /** How far the current configuration has come. */
  progress(): Progress;
  /** Hears each change of progress. Returns a function that ends the subscription. */
  subscribe(listener: (progress: Progress) => void): () => void;
  close(): Promise<void>;
}

/** How often a keeper that others may write to is looked at. */
const keeperIntervalMs = 60_000;

/** Resolves once the store has read its first full state. */
async function storeSynced(store: ConfigStore): Promise<void> {
  while (!store.synced) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** What was opened so far, to be closed in reverse, also when a later step fails. */
class Closers {
  readonly #closers: (() => void | Promise<void>)[] = [];

  add(close: () => void | Promise<void>): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) await close();
  }
}

/**
 * Starts the control plane; resolves when all ports listen, after the store has synced.
 * @throws Error when a port is taken or the authority's files do not fit together.
 */
export async function startDiscovery(options: DiscoveryOptions): Promise<Discovery> {
  const closers = new Closers();
  try {
    return await start(options, closers);
  } catch (error) {
    await closers.close();
    throw error;
  }
}

async function start(options: DiscoveryOptions, closers: Closers): Promise<Discovery> {
  const { store, log = silentLogger, version = 'unknown', metrics = new MetricsRegistry() } = options;
  const namespace = options.mesh?.namespace ?? 'istio-system';
  const authority = await CertificateAuthority.open({
    trustDomain: options.trustDomain ?? 'cluster.local',
    log: log.scope('ca'),
    ...(options.caDirectory === undefined ? {} : { directory: options.caDirectory }),
    ...(options.caKeeper === undefined ? {} : { keeper: options.caKeeper }),
  });
  // Others may write the Secrets of a cluster; a directory is ours.
  authority.watch(options.caKeeper === undefined ? undefined : keeperIntervalMs);
  closers.add(() => authority.close());
  await storeSynced(store);

  const authenticators = [clientCertificateAuthenticator(authority), ...(options.authenticators ?? [])];
  const pilot = pilotMetrics(metrics, version);
  const server = new DiscoveryServer({
    store,
    generators,
    authenticators,
    metrics: pilot,
    log,
    ...(options.mesh === undefined ? {} : { mesh: options.mesh }),
    ...(options.debounce === undefined ? {} : { debounce: options.debounce }),
    ...(options.pushThrottle === undefined ? {} : { pushThrottle: options.pushThrottle }),
  });
  closers.add(() => server.close());

  const listenGrpc = async (
    where: ListenOptions | undefined,
    address: string,
    tls?: GrpcServerTls,
  ): Promise<{ readonly port: number; readonly grpc: GrpcServer | undefined }> => {
    if (where === undefined) return { port: 0, grpc: undefined };
    const grpc = new GrpcServer({
      routes: (router) => {
        registerAds(router, server.xds);
        registerCaService(router, { authority, authenticators, metrics, log });
      },
      contextValues: connectionContextValues,
      log,
      ...(tls === undefined ? {} : { tls }),
    });
    closers.add(() => grpc.close());
    const host = where.address ?? address;
    const port = await grpc.listen({ port: where.port, ...(host === '' ? {} : { host }) });
    return { port, grpc };
  };
  let secure: Awaited<ReturnType<typeof listenGrpc>> = { port: 0, grpc: undefined };
  if (options.secure !== undefined) {
    const { tls, renewal } = await ServingCertificate.issue({
      authority,
      names: [
        `istiod.${namespace}.svc`,
        `istio-pilot.${namespace}.svc`,
        ...(options.secure.extraNames ?? []),
      ],
      log: log.scope('ca'),
      onRenew: (renewed) => secure.grpc?.rotate(renewed),
    });
    closers.add(() => renewal.close());
    secure = await listenGrpc(options.secure, '', tls);
  }
  const plaintext = await listenGrpc(options.plaintext, '127.0.0.1');

  const debug = debugPages({ server, store, generators, extra: options.pages ?? [] });
  const started = Date.now();
  const common: readonly (readonly [string, PageHandler])[] = [
    ['/ready', () => ({ body: '' })],
    ['/version', () => ({ body: `${version}\n` })],
    ...debug,
  ];
  const metricsPage: PageHandler = () => {
    pilot.uptime.set((Date.now() - started) / 1000);
    return { contentType: prometheusContentType, body: toPrometheusText(metrics.snapshot()) };
  };
  const listenHttp = async (
    where: ListenOptions | undefined,
    pages: Map<string, PageHandler>,
  ): Promise<number> => {
    if (where === undefined) return 0;
    const http: HttpServer = await serveHttp(pages, where.address ?? '127.0.0.1', where.port);
    closers.add(() => http.close());
    return http.port;
  };
  const ports: DiscoveryPorts = {
    secure: secure.port,
    plaintext: plaintext.port,
    http: await listenHttp(options.http, new Map(common)),
    monitoring: await listenHttp(options.monitoring, new Map([...common, ['/metrics', metricsPage]])),
  };
  log.info('control plane started', { ...ports, trustDomain: authority.trustDomain });
  return {
    ports,
    authority,
    get rootCertificatePem() {
      return authority.rootPem;
    },
    server,
    metrics,
    status: () => server.status(),
    proxyStatus: (name) => server.proxyStatus(name),
    progress: () => server.progress(),
    subscribe: (listener) => server.subscribe(listener),
    close: () => closers.close(),
  };
}
