/** Agent options out of flags, environment and the pod's files, with Istio's names and defaults. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { findEnvoy } from '#base/find_envoy.ts';
import {
  defaultEndpoints,
  type AgentEndpoints,
  type AgentOptions,
  type DataPlaneOptions,
  type DnsOptions,
  type Endpoint,
  type IdentityOptions,
  type Json,
  type JsonRecord,
  type ScrapeTarget,
} from '#agent/options.ts';
import { parseProbers } from '#agent/probers.ts';
import type { Logger } from '#base/log.ts';
import { isTrustDomain } from '#security/spiffe.ts';
import { parseDurationMs, readProxyConfig, type ReadProxyConfig } from './pilot_agent_proxy_config.ts';
import { istioVersion } from './pilot_agent_version.ts';

export { AgentConfigError } from './pilot_agent_proxy_config.ts';
import { AgentConfigError } from './pilot_agent_proxy_config.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Files of the pod, Istio's places in the injected container. */
interface PodPaths {
  readonly labels: string;
  readonly annotations: string;
  readonly rootCert: string;
  readonly token: string;
  readonly run: string;
}

/** Reads the environment; empty values count as absent. */
class EnvReader {
  readonly #env: Environment;

  constructor(env: Environment) {
    this.#env = env;
  }

  get all(): Environment {
    return this.#env;
  }

  text(name: string): string | undefined {
    const value = this.#env[name];
    return value === undefined || value === '' ? undefined : value;
  }

  on(name: string, fallback = false): boolean {
    const value = this.text(name)?.toLowerCase();
    return value === undefined ? fallback : ['1', 't', 'true'].includes(value);
  }

  number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!Number.isFinite(value)) throw new AgentConfigError(`${name}: ${JSON.stringify(text)} is no number`);
    return value;
  }

  durationMs(name: string): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : parseDurationMs(name, text);
  }

  json(name: string): unknown {
    const text = this.text(name);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw new AgentConfigError(`${name} is not JSON: ${(error as Error).message}`);
    }
  }
}

function podPaths(env: EnvReader): PodPaths {
  const directory = env.text('TRYSAIL_POD_DIRECTORY');
  if (directory !== undefined) {
    return {
      labels: join(directory, 'labels'),
      annotations: join(directory, 'annotations'),
      rootCert: join(directory, 'root-cert.pem'),
      token: join(directory, 'istio-token'),
      run: directory,
    };
  }
  const firstParty = env.text('JWT_POLICY') === 'first-party-jwt';
  const kubernetes = '/var/run/secrets/kubernetes.io/serviceaccount';
  const roots: Record<string, string> = {
    kubernetes: `${kubernetes}/ca.crt`,
    custom: './etc/certs/root-cert.pem',
  };
  return {
    labels: '/etc/istio/pod/labels',
    annotations: '/etc/istio/pod/annotations',
    rootCert:
      env.text('XDS_ROOT_CA') ??
      env.text('CA_ROOT_CA') ??
      roots[env.text('PILOT_CERT_PROVIDER') ?? 'istiod'] ??
      './var/run/secrets/istio/root-cert.pem',
    token: firstParty ? `${kubernetes}/token` : './var/run/secrets/tokens/istio-token',
    run: '.',
  };
}

/** Lines `key="value"` of a downward API volume. */
export function parsePodInfo(text: string): Record<string, string> {
  const entries: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at <= 0) continue;
    const value = line.slice(at + 1);
    try {
      entries[line.slice(0, at)] = String(JSON.parse(value));
    } catch {
      entries[line.slice(0, at)] = value.replace(/^"|"$/g, '');
    }
  }
  return entries;
}

/** Reads without asking first: access(2) knows nothing of the capability by which a sidecar may read. */
function readPodInfo(path: string): Record<string, string> {
  try {
    return parsePodInfo(readFileSync(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

/** `ISTIO_META_X` as text, `ISTIO_METAJSON_X` as what its JSON object holds. */
export function readMetadata(env: Environment): Record<string, Json> {
  const metadata: Record<string, Json> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined) continue;
    if (name.startsWith('ISTIO_META_')) metadata[name.slice('ISTIO_META_'.length)] = value;
    else if (name.startsWith('ISTIO_METAJSON_')) {
      try {
        Object.assign(metadata, JSON.parse(value) as JsonRecord);
      } catch (error) {
        throw new AgentConfigError(`${name} is not JSON: ${(error as Error).message}`);
      }
    }
  }
  return metadata;
}

/** Endpoints: Istio's, on one address and with other ports where several pods share a host. */
function readEndpoints(env: EnvReader, statusPort: number, adminPort: number): AgentEndpoints {
  const bind = env.text('TRYSAIL_BIND_ADDRESS');
  const given = (env.json('TRYSAIL_PORTS') ?? {}) as Record<string, unknown>;
  const endpoint = (name: keyof AgentEndpoints, port: number, variable?: string): Endpoint => {
    const own = Number(given[name] ?? (variable === undefined ? undefined : env.number(variable)) ?? port);
    if (!Number.isInteger(own) || own < 0 || own > 65_535)
      throw new AgentConfigError(`port of ${name}: ${own}`);
    return { address: bind ?? defaultEndpoints[name].address, port: own };
  };
  return {
    admin: endpoint('admin', adminPort),
    status: endpoint('status', statusPort),
    health: endpoint('health', defaultEndpoints.health.port, 'ENVOY_STATUS_PORT'),
    prometheus: endpoint('prometheus', defaultEndpoints.prometheus.port, 'ENVOY_PROMETHEUS_PORT'),
    dns: readDnsEndpoint(env, endpoint('dns', defaultEndpoints.dns.port)),
  };
}

function readDnsEndpoint(env: EnvReader, fallback: Endpoint): Endpoint {
  const match = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(env.text('DNS_PROXY_ADDR') ?? '');
  if (match === null) return fallback;
  const host = match[1] ?? match[2] ?? '';
  return { address: host === 'localhost' ? '127.0.0.1' : host, port: Number(match[3]) };
}

function readIdentity(env: EnvReader, paths: PodPaths): IdentityOptions {
  const curve = env.text('ECC_CURVE') === 'P384' ? 'ecdsa-p384' : 'ecdsa-p256';
  const bits = env.number('WORKLOAD_RSA_KEY_SIZE');
  const rsa = bits !== undefined && bits > 2048 ? 'rsa-4096' : 'rsa-2048';
  const keyAlgorithm = bits === undefined || env.text('ECC_SIGNATURE_ALGORITHM') === 'ECDSA' ? curve : rsa;
  const optional = <K extends string, V>(key: K, value: V | undefined) =>
    value === undefined ? {} : ({ [key]: value } as Record<K, V>);
  return {
    filesDirectory: './var/run/secrets/workload-spiffe-credentials',
    rootCertPath: paths.rootCert,
    tokenPath: paths.token,
    keyAlgorithm,
    ...optional('caAddress', env.text('CA_ADDR')),
    ...optional('ttlMs', env.durationMs('SECRET_TTL')),
    ...optional('gracePeriodRatio', env.number('SECRET_GRACE_PERIOD_RATIO')),
    ...optional('gracePeriodJitter', env.number('SECRET_GRACE_PERIOD_RATIO_JITTER')),
    ...optional('outputDirectory', env.text('OUTPUT_CERTS')),
  };
}

function readDataPlane(env: EnvReader, flags: Readonly<Record<string, unknown>>): DataPlaneOptions {
  const kind = env.text('TRYSAIL_DATA_PLANE') ?? 'built_in';
  if (kind === 'built_in') return { kind };
  if (kind !== 'envoy') throw new AgentConfigError(`TRYSAIL_DATA_PLANE: ${kind} is not built_in or envoy`);
  const path = findEnvoy(env.all);
  if (path === undefined)
    throw new AgentConfigError('no Envoy binary: set TRYSAIL_ENVOY or put envoy on the PATH');
  const componentLogLevel = flags['proxyComponentLogLevel'];
  return {
    kind,
    path,
    logLevel: String(flags['proxyLogLevel'] ?? 'warning'),
    ...(typeof componentLogLevel === 'string' ? { componentLogLevel } : {}),
  };
}

/** Worker threads: flag, then ProxyConfig, then the CPU limit; 0 and nothing at all mean one per CPU. */
function readConcurrency(env: EnvReader, flag: unknown, config: ReadProxyConfig): number {
  const wanted = flag === undefined ? config.concurrency : Number(flag);
  if (wanted !== undefined && (!Number.isInteger(wanted) || wanted < 0)) {
    throw new AgentConfigError(`concurrency ${String(flag ?? wanted)} is not a count of threads`);
  }
  if (wanted !== undefined && wanted > 0) return wanted;
  const limit = Math.ceil(env.number('ISTIO_CPU_LIMIT') ?? 0);
  return limit > 0 ? limit : availableParallelism();
}

/** `{"scrape":"true","path":"/metrics","port":"9080"}`, or a list of such; `targets` has further pages. */
function readScrapeTargets(env: EnvReader): ScrapeTarget[] {
  const value = env.json('ISTIO_PROMETHEUS_ANNOTATIONS');
  const list = Array.isArray(value) ? value : value === undefined ? [] : [value];
  return (list as Record<string, unknown>[])
    .flatMap((page) => {
      const { scrape, targets, port, path } = page;
      const further = Array.isArray(targets) ? (targets as Record<string, unknown>[]) : [];
      // A pod that names only targets has no page at the usual place.
      const own = further.length === 0 || textOr(port, '') !== '' || textOr(path, '') !== '';
      return own && String(scrape) === 'true' ? [page, ...further] : further;
    })
    .map(({ port, path }) => ({ port: Number(textOr(port, '80')), path: textOr(path, '/metrics') }))
    .filter(({ port }) => Number.isInteger(port) && port > 0 && port < 65_536);
}

function textOr(value: unknown, fallback: string): string {
  return value === undefined || value === null || value === '' ? fallback : String(value);
}

function readDns(env: EnvReader, metadata: Readonly<Record<string, Json>>): DnsOptions | undefined {
  if (!['true', '1', 'all'].includes(String(metadata['DNS_CAPTURE'] ?? '').toLowerCase())) return undefined;
  return { forwardParallel: env.on('DNS_FORWARD_PARALLEL') };
}

/**
 * Reads everything an agent needs.
 * @throws AgentConfigError that names the flag or variable
 */
export async function readAgentOptions(
  type: string,
  flags: Readonly<Record<string, unknown>>,
  given: Environment,
  log: Logger,
): Promise<AgentOptions> {
  if (type !== 'sidecar' && type !== 'router')
    throw new AgentConfigError(`proxy type ${type} is not sidecar or router`);
  const paths = podPaths(new EnvReader(given));
  const annotations = readPodInfo(paths.annotations);
  const config = await readProxyConfig(given, annotations, String(flags['meshConfig'] ?? ''));
  // What ProxyConfig sets is environment too, below what the container itself sets.
  const env = new EnvReader({ ...config.proxyMetadata, ...given });
  const podNamespace = env.text('POD_NAMESPACE') ?? 'default';
  const trustDomain = String(flags['trustDomain'] ?? env.text('TRUST_DOMAIN') ?? 'cluster.local');
  if (!isTrustDomain(trustDomain)) throw new AgentConfigError(`trust domain ${trustDomain} is malformed`);
  const metadata = readMetadata(env.all);
  const dns = readDns(env, metadata);
  const instanceIp = env.text('INSTANCE_IP') ?? '127.0.0.1';
  const proberText = env.text('ISTIO_KUBE_APP_PROBERS');
  const probed = env.on('REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION')
    ? '127.0.0.1'
    : (instanceIp.split(',')[0] ?? '');
  const probers = proberText === undefined ? undefined : parseProbers(proberText, probed);
  if (probers !== undefined && probers.unknown.length > 0) {
    log.warn('probes that are not HTTP or TCP are not run', { paths: probers.unknown });
  }
  const serviceCluster = flags['serviceCluster'] ?? config.serviceCluster;
  const sni = env.text('ISTIOD_SAN');
  const plaintext = env.text('PILOT_CERT_PROVIDER') === 'none' || config.controlPlaneAuthPolicy === 'NONE';
  const minimumDrainDurationMs = env.durationMs('MINIMUM_DRAIN_DURATION');
  return {
    nodeType: type,
    podName: env.text('POD_NAME') ?? 'unknown',
    podNamespace,
    podIps: instanceIp.split(',').map((ip) => ip.trim()),
    serviceAccount: env.text('SERVICE_ACCOUNT') ?? 'default',
    trustDomain,
    domain: String(flags['domain'] ?? `${podNamespace}.svc.cluster.local`),
    labels: readPodInfo(paths.labels),
    annotations,
    proxyConfig: { ...config.agent, concurrency: readConcurrency(env, flags['concurrency'], config) },
    metadata,
    ...(typeof serviceCluster === 'string' ? { serviceCluster } : {}),
    identity: readIdentity(env, paths),
    discovery: plaintext
      ? { kind: 'plaintext' }
      : { kind: 'tls', ...(sni === undefined ? {} : { serverName: sni }) },
    xdsProtocol: readXdsProtocol(env),
    dataPlane: readDataPlane(env, flags),
    endpoints: readEndpoints(env, config.statusPort ?? 15020, config.adminPort ?? 15000),
    ...(dns === undefined ? {} : { dns }),
    runDirectory: env.text('TRYSAIL_RUN_DIRECTORY') ?? paths.run,
    scrapeTargets: readScrapeTargets(env),
    ...(probers === undefined ? {} : { probers: probers.probers }),
    ...(typeof flags['outlierLogPath'] === 'string' ? { outlierLogPath: flags['outlierLogPath'] } : {}),
    exitOnZeroActiveConnections: env.on('EXIT_ON_ZERO_ACTIVE_CONNECTIONS'),
    ...(minimumDrainDurationMs === undefined ? {} : { minimumDrainDurationMs }),
    environment: env.all,
    version: istioVersion,
    log,
  };
}

function readXdsProtocol(env: EnvReader): 'sotw' | 'delta' {
  const named = env.text('TRYSAIL_XDS_PROTOCOL');
  if (named === 'sotw' || named === 'delta') return named;
  return env.on('ISTIO_DELTA_XDS', true) ? 'delta' : 'sotw';
}
