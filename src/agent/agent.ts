/**
 * The agent of one pod: identity, SDS, xDS relay, DNS, status server and the data plane, started in this order and ended
 * in the reverse one.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { NameTableSchema } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { developmentIdentityHeader } from '#security/authn/development_header.ts';
import { formatSpiffe } from '#security/spiffe.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { GrpcClient } from '#xds/grpc_client.ts';
import { grpcTransport } from '#xds/grpc_transport.ts';
import { memoryTransport } from '#xds/memory_transport.ts';
import { typeUrls } from '#xds/type_url.ts';
import { buildBootstrap, staticClusters } from './bootstrap.ts';
import { connectControlPlane, type ControlPlaneOptions } from './control_plane.ts';
import type { DataPlane, DataPlaneExit } from './data_plane/data_plane.ts';
import { drainAndClose } from './drain.ts';
import { startDns } from './dns/start_dns.ts';
import type { DnsServer } from './dns/dns_server.ts';
import { agentMetrics, type AgentMetrics } from './agent_metrics.ts';
import type { AgentEndpoints, AgentOptions } from './options.ts';
import { FileSecrets } from './secrets/file_secrets.ts';
import { authorityProvider, filesProvider, type IdentityProvider } from './secrets/identity_provider.ts';
import { writeOutputCerts } from './secrets/output_certs.ts';
import { SdsServer } from './secrets/sds_server.ts';
import { SecretManager } from './secrets/secret_manager.ts';
import { bootstrapPath } from './sockets.ts';
import { StatusServer } from './status_server.ts';
import { XdsRelay } from './xds_relay/xds_relay.ts';

/** A running agent. */
export interface Agent {
  /** Where it listens, with the ports that the system chose. */
  readonly endpoints: AgentEndpoints;
  readonly metrics: MetricsRegistry;
  /** Undefined when the proxy serves, else why not yet. */
  notReady(): Promise<string | undefined>;
  /** Drains and ends, as SIGTERM asks. A second call ends at once. */
  terminate(): Promise<void>;
  /** Ends at once. */
  close(): Promise<void>;
  /** Resolves when the agent has ended, by a call above or because the data plane left. */
  readonly exited: Promise<DataPlaneExit>;
}

const day = 86_400_000;

/** Time between two looks for the first readiness, milliseconds. */
const readyPollMs = 100;

/** Closes in the reverse order of opening. */
class Closers {
  readonly #closers: (() => unknown)[] = [];

  add(close: () => unknown): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) await close();
  }
}

function controlPlane(
  options: AgentOptions,
  address: string,
  manager: () => SecretManager,
): ControlPlaneOptions {
  const { discovery, identity } = options;
  if (discovery.kind === 'plaintext') return { address };
  const { serverName } = discovery;
  return {
    address,
    tls: { rootCertPath: identity.rootCertPath, ...(serverName === undefined ? {} : { serverName }) },
    tokenPath: identity.tokenPath,
    identity: () => manager().identity,
  };
}

/** Files that are there come before the authority. */
function identityProvider(options: AgentOptions, authority: GrpcClient): IdentityProvider {
  const { identity, trustDomain, podNamespace, serviceAccount, metadata } = options;
  const { filesDirectory } = identity;
  if (filesDirectory !== undefined && existsSync(join(filesDirectory, 'cert-chain.pem'))) {
    return filesProvider(filesDirectory);
  }
  const uri = formatSpiffe({ trustDomain, namespace: podNamespace, serviceAccount });
  const own = options.discovery.kind === 'plaintext' ? { [developmentIdentityHeader]: uri } : {};
  const clusterId = metadata['CLUSTER_ID'];
  return authorityProvider({
    call: (path, request, headers) => authority.unary(path, request, { ...headers, ...own }),
    identity: uri,
    ttlMs: identity.ttlMs ?? day,
    clusterId: typeof clusterId === 'string' ? clusterId : 'Kubernetes',
    ...(identity.keyAlgorithm === undefined ? {} : { keyAlgorithm: identity.keyAlgorithm }),
  });
}

function startSecrets(options: AgentOptions, closers: Closers): SecretManager {
  const { identity, proxyConfig, log } = options;
  const address = identity.caAddress ?? proxyConfig.discoveryAddress;
  const authority = connectControlPlane(controlPlane(options, address, () => manager));
  closers.add(() => authority.close());
  const { gracePeriodRatio, gracePeriodJitter, outputDirectory } = identity;
  const manager: SecretManager = new SecretManager({
    provider: identityProvider(options, authority),
    log,
    ...(gracePeriodRatio === undefined ? {} : { gracePeriodRatio }),
    ...(gracePeriodJitter === undefined ? {} : { gracePeriodJitter }),
  });
  closers.add(() => manager.close());
  if (outputDirectory !== undefined) {
    manager.subscribe(() => {
      if (manager.identity === undefined) return;
      writeOutputCerts(outputDirectory, manager.identity).catch((error: unknown) =>
        log.error('certificates not written', { directory: outputDirectory, error }),
      );
    });
  }
  manager.start();
  return manager;
}

function startRelay(
  options: AgentOptions,
  manager: SecretManager,
  dns: DnsServer | undefined,
  metrics: MetricsRegistry,
  closers: Closers,
): XdsRelay {
  const { discoveryAddress } = options.proxyConfig;
  const upstream = grpcTransport(connectControlPlane(controlPlane(options, discoveryAddress, () => manager)));
  closers.add(() => upstream.close?.());
  const interceptors = new Map(
    dns === undefined
      ? []
      : [
          [
            typeUrls.nds,
            ([bytes]: readonly Uint8Array[]) =>
              dns.setTable(fromBinary(NameTableSchema, bytes ?? new Uint8Array())),
          ] as const,
        ],
  );
  const relay = new XdsRelay({ upstream, interceptors, metrics, log: options.log });
  closers.add(() => relay.close());
  return relay;
}

async function startDataPlane(
  options: AgentOptions,
  sds: SdsServer,
  relay: XdsRelay,
  closers: Closers,
): Promise<DataPlane> {
  const bootstrap = buildBootstrap(options);
  const { dataPlane, proxyConfig, runDirectory, log, endpoints } = options;
  const { concurrency, drainDurationMs } = proxyConfig;
  if (dataPlane.kind === 'built_in') {
    const { startBuiltIn } = await import('./data_plane/built_in.ts');
    const transports = new Map([
      [staticClusters.sds, memoryTransport(sds.acceptor)],
      [staticClusters.xds, memoryTransport(relay)],
    ]);
    return startBuiltIn({
      bootstrap,
      transports,
      concurrency,
      drainDurationMs,
      environment: options.environment ?? {},
      version: options.version,
      log,
    });
  }
  const { openEnvoySockets } = await import('./data_plane/envoy_sockets.ts');
  closers.add(await openEnvoySockets({ runDirectory, sds: sds.acceptor, xds: relay, log }));
  const { startEnvoy } = await import('./data_plane/envoy.ts');
  const { logLevel, componentLogLevel, extraArgs } = dataPlane;
  return startEnvoy({
    path: dataPlane.path,
    bootstrap,
    bootstrapPath: bootstrapPath(runDirectory),
    admin: endpoints.admin,
    ownPorts: [endpoints.health.port, endpoints.prometheus.port],
    concurrency,
    drainDurationMs,
    ...(logLevel === undefined ? {} : { logLevel }),
    ...(componentLogLevel === undefined ? {} : { componentLogLevel }),
    ...(extraArgs === undefined ? {} : { extraArgs }),
    log,
  });
}

/**
 * Starts an agent; resolves when the data plane has been started, ready or not.
 * @throws Error when a port is taken or the data plane cannot start; nothing is left running then
 */
export async function startAgent(given: AgentOptions): Promise<Agent> {
  const closers = new Closers();
  try {
    return await start(given, closers);
  } catch (error) {
    await closers.close();
    throw error;
  }
}

async function start(given: AgentOptions, closers: Closers): Promise<Agent> {
  const { log } = given;
  const metrics = new MetricsRegistry();
  await mkdir(given.runDirectory, { recursive: true, mode: 0o700 });
  const manager = startSecrets(given, closers);
  const files = new FileSecrets(log);
  closers.add(() => files.close());
  const sds = new SdsServer([manager, files], log);
  closers.add(() => sds.close());

  const dns = given.dns === undefined ? undefined : await startDns(given, given.dns, metrics);
  if (dns !== undefined) closers.add(() => dns.server.close());
  const relay = startRelay(given, manager, dns?.server, metrics, closers);

  let dataPlane: DataPlane | undefined;
  let draining: string | undefined;
  let ended = false;
  const own: AgentMetrics = agentMetrics(metrics, () => manager.identity?.notAfterMs);
  const notReady = async (): Promise<string | undefined> => {
    if (draining !== undefined) return draining;
    const missing = relay.notReady() ?? (dataPlane === undefined ? 'the proxy has not started' : undefined);
    const reason = missing ?? (await dataPlane?.notReady());
    if (reason === undefined && !own.started) {
      own.markStarted();
      log.info('proxy is ready', { afterMs: Math.round(performance.now()) });
    }
    return reason;
  };
  const drain = async (): Promise<void> => {
    if (draining !== undefined) return;
    draining = 'the proxy is draining';
    await dataPlane?.drain();
  };
  const status = new StatusServer({
    endpoint: given.endpoints.status,
    notReady,
    metrics: {
      metrics,
      proxyStats: async () => dataPlane?.stats(),
      targets: given.scrapeTargets ?? [],
      log: log.scope('status'),
    },
    beforeScrape: () => own.refresh(),
    nameTable: () => dns?.server.table,
    probers: given.probers ?? new Map(),
    onQuit: () => void agent.terminate(),
    onDrain: () => void drain().catch((error: unknown) => log.error('drain failed', { error })),
    log,
  });
  const statusPort = await status.listen();
  closers.add(() => status.close());

  const endpoints: AgentEndpoints = {
    ...given.endpoints,
    status: { ...given.endpoints.status, port: statusPort },
    ...(dns === undefined ? {} : { dns: { ...given.endpoints.dns, port: dns.port } }),
  };
  const running = await startDataPlane({ ...given, endpoints }, sds, relay, closers);
  dataPlane = running;
  closers.add(() => running.close());

  let resolveExit: (exit: DataPlaneExit) => void = () => {};
  const exited = new Promise<DataPlaneExit>((resolve) => {
    resolveExit = resolve;
  });
  const close = async (exit: DataPlaneExit = {}): Promise<void> => {
    if (ended) return;
    ended = true;
    clearInterval(firstReady);
    await closers.close();
    resolveExit(exit);
  };
  void running.exited.then((exit) => {
    if (!ended) log.error('the data plane has ended', { ...exit });
    return close(exit);
  });
  const firstReady = setInterval(() => {
    void notReady().then((reason) => {
      if (reason === undefined) clearInterval(firstReady);
    });
  }, readyPollMs);
  firstReady.unref();

  let terminating: AbortController | undefined;
  const agent: Agent = {
    endpoints,
    metrics,
    notReady,
    exited,
    close: () => close(),
    async terminate() {
      if (terminating !== undefined) {
        terminating.abort();
        return;
      }
      terminating = new AbortController();
      // After POST /drain the time to drain has passed already.
      const drained = draining !== undefined;
      log.info('terminating', { drained });
      await drainAndClose(given, running, drain, drained, terminating.signal);
      await close();
    },
  };
  return agent;
}
