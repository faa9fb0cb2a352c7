/** `pilot-discovery discovery`: the control plane. Flags and variables as in Istio where the meaning is the same. */
import { Command, Option } from 'commander';
import { createLogger } from '#base/log.ts';
import { parseDurationMs } from '#config/schema/duration.ts';
import { createAggregateStore } from '#config/store/aggregate.ts';
import { openFileStore } from '#config/store/file.ts';
import { meshConfigOf } from '#config/mesh_config/config_map.ts';
import { startDiscovery, type ListenOptions } from '#pilot/bootstrap/discovery.ts';
import { openMeshConfigFile } from '#pilot/bootstrap/mesh_config_file.ts';
import type { Authenticator } from '#security/authn/authenticator.ts';
import { jwtAuthenticator } from '#security/authn/jwt_authenticator.ts';
import { type LogFlags, addLogOptions, readLogOptions } from './log_options.ts';
import { type Env, UsageError, version } from './main.ts';

interface Flags extends LogFlags {
  readonly grpcAddr: string;
  readonly secureGRPCAddr: string;
  readonly httpAddr: string;
  readonly monitoringAddr: string;
  readonly configDir?: string;
  readonly meshConfig: string;
  readonly domain: string;
  readonly namespace: string;
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

/** Tokens are accepted only when the operator says who issues them and with which keys. */
function readAuthenticators(flags: Flags, env: Env, trustDomain: string): Authenticator[] {
  const { tokenJwks, tokenIssuer } = flags;
  if (tokenJwks === undefined && tokenIssuer.length === 0) return [];
  if (tokenJwks === undefined || tokenIssuer.length === 0) {
    throw new UsageError('--tokenIssuer and --tokenJwks go together');
  }
  const audiences = env['TOKEN_AUDIENCES']?.split(',').filter((audience) => audience !== '');
  const keys = /^https?:/.test(tokenJwks)
    ? ({ kind: 'jwks_uri', uri: tokenJwks } as const)
    : ({ kind: 'jwks_file', path: tokenJwks } as const);
  return [
    jwtAuthenticator({
      issuers: tokenIssuer,
      keys,
      trustDomain,
      ...(audiences === undefined || audiences.length === 0 ? {} : { audiences }),
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
  if (flags.configDir === undefined) throw new UsageError('--configDir says where the configuration is');
  const log = createLogger(readLogOptions(flags));
  const listeners = {
    plaintext: parseAddress('grpcAddr', flags.grpcAddr),
    secure: parseAddress('secureGRPCAddr', flags.secureGRPCAddr),
    http: parseAddress('httpAddr', flags.httpAddr),
    monitoring: parseAddress('monitoringAddr', flags.monitoringAddr),
  };
  const debounce = readDebounce(env);
  const pushThrottle = readThrottle(env);
  const mesh = await openMeshConfigFile(flags.meshConfig, flags.namespace, log.scope('mesh'));
  const files = await openFileStore({
    paths: [flags.configDir],
    log: log.scope('config'),
    onProblem: (errors) => {
      for (const { file, line, column, path, message } of errors) {
        log.scope('config').error(`${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`);
      }
    },
  });
  const store = createAggregateStore([mesh.store, files]);
  const { trustDomain } = meshConfigOf(store.get('ConfigMap', flags.namespace, 'istio'));
  const host = env['ISTIOD_CUSTOM_HOST'];
  const extraNames = [...flags.tlsName, ...(host === undefined || host === '' ? [] : host.split(','))];
  const discovery = await startDiscovery({
    store,
    ...listeners,
    secure: listeners.secure === undefined ? undefined : { ...listeners.secure, extraNames },
    caDirectory: flags.caDir,
    trustDomain,
    authenticators: readAuthenticators(flags, env, trustDomain),
    mesh: { domainSuffix: flags.domain, clusterId: flags.clusterID, namespace: flags.namespace },
    debounce,
    ...(pushThrottle === undefined ? {} : { pushThrottle }),
    version: version(),
    log,
  });
  const signal = await untilSignal();
  log.info('control plane stops', { signal });
  await discovery.close();
  store.close();
  await files.close();
  mesh.close();
}

/** The command, with Istio's flags. */
export function pilotDiscoveryCommand(env: Env): Command {
  const discovery = new Command('discovery')
    .description('start the control plane')
    .option('--grpcAddr <address>', 'xDS and CA in plaintext; empty: off', '127.0.0.1:15010')
    .option('--secureGRPCAddr <address>', 'xDS and CA over TLS; empty: off', ':15012')
    .option('--httpAddr <address>', 'debug pages and readiness; empty: off', '127.0.0.1:8080')
    .option('--monitoringAddr <address>', 'metrics; empty: off', '127.0.0.1:15014')
    .option('--configDir <folder>', 'folder with the objects of the mesh, YAML or JSON')
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
