/** `pilot-discovery discovery`: the control plane. Flags and variables as in Istio where the meaning is the same. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { createLogger } from '#base/log.ts';
import { meshConfigMapName } from '#config/mesh_config/config_map.ts';
import { parseDurationMs } from '#config/schema/duration.ts';
import { startDiscovery, type ListenOptions } from '#pilot/bootstrap/discovery.ts';
import { startInjection } from '#pilot/bootstrap/injection.ts';
import type { Authenticator } from '#security/authn/authenticator.ts';
import { jwtAuthenticator } from '#security/authn/jwt_authenticator.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { type LogFlags, addLogOptions, readLogOptions } from './log_options.ts';
import { type Env, UsageError, version } from './main.ts';
import { isInCluster, openSources, type SourceFlags } from './pilot_discovery_sources.ts';

interface Flags extends LogFlags, SourceFlags {
  readonly grpcAddr: string;
  readonly secureGRPCAddr: string;
  readonly httpAddr: string;
  readonly monitoringAddr: string;
  readonly httpsAddr: string;
  readonly domain: string;
  readonly clusterID: string;
  readonly caDir: string;
  readonly tlsName: readonly string[];
  readonly tokenIssuer: readonly string[];
  readonly tokenJwks?: string;
}

/** `:15010` is all addresses, `127.0.0.1:15010` and `[::1]:15010` one; empty switches the port off. */
function parseAddress(flag: string, text: string): ListenOptions | undefined {
  if (text === '') return undefined;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new UsageError(`--${flag}: ${JSON.stringify(text)} is not ADDRESS:PORT`);
  return { port, address: match[1] ?? match[2] ?? '' };
}

function readDuration(env: Env, name: string): number | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  const ms = parseDurationMs(text);
  if (ms === undefined) throw new UsageError(`${name}: ${JSON.stringify(text)} is not a duration`);
  return ms;
}

function readDebounce(env: Env): { afterMs?: number; maxMs?: number } {
  const afterMs = readDuration(env, 'PILOT_DEBOUNCE_AFTER');
  const maxMs = readDuration(env, 'PILOT_DEBOUNCE_MAX');
  return { ...(afterMs === undefined ? {} : { afterMs }), ...(maxMs === undefined ? {} : { maxMs }) };
}

function readThrottle(env: Env): number | undefined {
  const text = env['PILOT_PUSH_THROTTLE'];
  if (text === undefined || text === '' || text === '0') return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`PILOT_PUSH_THROTTLE: ${text} is not a number`);
  return value;
}

/** Audiences that tokens of proxies are for; undefined: the default. */
function readAudiences(env: Env): readonly string[] | undefined {
  const audiences = env['TOKEN_AUDIENCES']?.split(',').filter((audience) => audience !== '');
  return audiences === undefined || audiences.length === 0 ? undefined : audiences;
}

/** Tokens are verified here only when the operator says who issues them and with which keys. */
function readAuthenticators(flags: Flags, env: Env, trustDomain: string): Authenticator[] {
  const { tokenJwks, tokenIssuer } = flags;
  if (tokenJwks === undefined && tokenIssuer.length === 0) return [];
  if (tokenJwks === undefined || tokenIssuer.length === 0) {
    throw new UsageError('--tokenIssuer and --tokenJwks go together');
  }
  const audiences = readAudiences(env);
  const keys = /^https?:/.test(tokenJwks)
    ? ({ kind: 'jwks_uri', uri: tokenJwks } as const)
    : ({ kind: 'jwks_file', path: tokenJwks } as const);
  return [
    jwtAuthenticator({
      issuers: tokenIssuer,
      keys,
      trustDomain,
      ...(audiences === undefined ? {} : { audiences }),
    }),
  ];
}

function collect(value: string, list: readonly string[]): readonly string[] {
  return [...list, value];
}

/** Resolves when the process is asked to end. */
function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve);
  });
}

async function runDiscovery(flags: Flags, env: Env): Promise<void> {
  const log = createLogger(readLogOptions(flags));
  const listeners = {
    plaintext: parseAddress('grpcAddr', flags.grpcAddr),
    secure: parseAddress('secureGRPCAddr', flags.secureGRPCAddr),
    http: parseAddress('httpAddr', flags.httpAddr),
    monitoring: parseAddress('monitoringAddr', flags.monitoringAddr),
  };
  const webhook = parseAddress('httpsAddr', flags.httpsAddr);
  const debounce = readDebounce(env);
  const pushThrottle = readThrottle(env);
  const metrics = new MetricsRegistry();
  const stopped = untilSignal();
  const opening = openSources(flags, env, log, metrics);
  // A cluster that does not answer is waited for; a signal ends the wait.
  const first = await Promise.race([opening, stopped]);
  if (typeof first === 'string') return process.exit(0);
  const { store, cluster, meshConfig, close } = first;
  const { trustDomain } = meshConfig();
  const host = env['ISTIOD_CUSTOM_HOST'];
  const revision = env['REVISION'] ?? '';
  // The Service of a revision has a name of its own; proxies of the revision ask for it.
  const ownService =
    revision === '' || revision === 'default' ? [] : [`istiod-${revision}.${flags.namespace}.svc`];
  const extraNames = [
    ...ownService,
    ...flags.tlsName,
    ...(host === undefined || host === '' ? [] : host.split(',')),
  ];
  // A plug-in authority that is mounted stands before Secrets.
  const inSecret = cluster !== undefined && !existsSync(join(flags.caDir, 'ca-cert.pem'));
  const starting = startDiscovery({
    store,
    ...listeners,
    secure: listeners.secure === undefined ? undefined : { ...listeners.secure, extraNames },
    ...(inSecret ? { caKeeper: cluster.caKeeper } : { caDirectory: flags.caDir }),
    trustDomain,
    authenticators: [
      ...readAuthenticators(flags, env, trustDomain),
      ...(cluster === undefined ? [] : [cluster.authenticator(trustDomain, readAudiences(env))]),
    ],
    mesh: {
      domainSuffix: flags.domain,
      clusterId: flags.clusterID,
      namespace: flags.namespace,
      configMapName: meshConfigMapName(revision),
    },
    debounce,
    ...(pushThrottle === undefined ? {} : { pushThrottle }),
    ...(cluster === undefined ? {} : { pages: cluster.pages }),
    version: version(),
    metrics,
    log,
  });
  const discovery = await starting.catch(async (error: unknown) => {
    // Watches would keep the process alive.
    await close();
    throw error;
  });
  cluster?.startWriters(discovery.authority);
  const injection =
    webhook === undefined
      ? undefined
      : await startInjection({
          listen: webhook,
          authority: discovery.authority,
          store,
          cluster,
          namespace: flags.namespace,
          revision,
          extraNames,
          nativeSidecars: env['ENABLE_NATIVE_SIDECARS'],
          tag: version(),
          metrics,
          log,
        }).catch(async (error: unknown) => {
          await discovery.close();
          await close();
          throw error;
        });
  const signal = await stopped;
  log.info('control plane stops', { signal });
  await injection?.close();
  await discovery.close();
  await close();
}

/** The command, with Istio's flags. */
export function pilotDiscoveryCommand(env: Env): Command {
  // Probes and scrapes come over the pod's network; debug pages answer on loopback only, wherever they listen.
  const host = isInCluster(env) ? '' : '127.0.0.1';
  const discovery = new Command('discovery')
    .description('start the control plane')
    .option('--grpcAddr <address>', 'xDS and CA in plaintext; empty: off', '127.0.0.1:15010')
    .option('--secureGRPCAddr <address>', 'xDS and CA over TLS; empty: off', ':15012')
    .option('--httpAddr <address>', 'debug pages and readiness; empty: off', `${host}:8080`)
    .option('--monitoringAddr <address>', 'metrics; empty: off', `${host}:15014`)
    .option('--httpsAddr <address>', 'injection webhook; empty: off', isInCluster(env) ? ':15017' : '')
    .option('--configDir <folder>', 'folder with the objects of the mesh, YAML or JSON')
    .option('--kubeconfig <file>', 'cluster to read; in a pod its own cluster')
    .option('--registries <names>', 'Kubernetes, or empty for none; default as the other flags imply')
    .option('--meshConfig <file>', 'file with the MeshConfig', './etc/istio/config/mesh')
    .option('--domain <suffix>', 'DNS suffix of services', env['DOMAIN_SUFFIX'] ?? 'cluster.local')
    .option(
      '-n, --namespace <name>',
      'namespace of the control plane',
      env['POD_NAMESPACE'] ?? 'istio-system',
    )
    .option('--clusterID <name>', 'name of the cluster', env['CLUSTER_ID'] ?? 'Kubernetes')
    .option(
      '--caDir <folder>',
      'folder that keeps the authority across restarts',
      env['ROOT_CA_DIR'] ?? './etc/cacerts',
    )
    .addOption(
      new Option(
        '--tlsName <name>',
        'one more name or address of the server in its certificate; may be repeated',
      )
        .argParser(collect)
        .default([], 'istiod.NAMESPACE.svc alone'),
    )
    .addOption(
      new Option('--tokenIssuer <issuer>', 'issuer of accepted service-account tokens; may be repeated')
        .argParser(collect)
        .default([], 'none'),
    )
    .option('--tokenJwks <file or URL>', 'keys that sign the tokens')
    .action(async (flags: Flags) => runDiscovery(flags, env));
  addLogOptions(discovery);
  return new Command('pilot-discovery').description('the control plane of the mesh').addCommand(discovery);
}
