/** Schema of ProxyConfig. */
import { clientTls, tcpKeepalive } from '../kinds/destination_rule/connection_pool.ts';
import { duration } from '../schema/duration.ts';
import { isAddress, isFqdn, port, uint32 } from '../schema/names.ts';
import { regex } from '../schema/regex.ts';
import {
  type Schema,
  boolean,
  emptyObject,
  integer,
  list,
  map,
  number,
  object,
  oneOf,
  string,
} from '../schema/schema.ts';
import type {
  ConnectionSettings,
  PrivateKeyProvider,
  ProxyConfig,
  ProxyHeaders,
  ProxyStatsMatcher,
  ProxyTracing,
  ProxyTracingCustomTag,
  ReadinessProbe,
  RemoteService,
  Topology,
} from './proxy_config.ts';

const hostPort = string({
  expected: 'an address as "host:port"',
  code: 'invalid_address',
  test(text) {
    // Istio lets variables of the environment stand here: $(HOST_IP):9411.
    const match = /^(?:\[([^\]]+)\]|(\$\([\w.]+\)|[^:[\]]+)):(\d{1,5})$/.exec(text);
    if (match === null) return false;
    const host = match[1] ?? match[2] ?? '';
    const number = Number(match[3]);
    return number >= 1 && number <= 65_535 && (host.startsWith('$(') || isFqdn(host) || isAddress(host));
  },
});

const forwardDetails = oneOf(
  'UNDEFINED',
  'SANITIZE',
  'FORWARD_ONLY',
  'APPEND_FORWARD',
  'SANITIZE_SET',
  'ALWAYS_FORWARD_ONLY',
);

type Literal = NonNullable<ProxyTracingCustomTag['literal']>;
type Named = NonNullable<ProxyTracingCustomTag['environment']>;
const named = object<Named>(
  { name: string({ minLength: 1 }), defaultValue: string() },
  { required: ['name'] },
);
const integer64 = integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });

const tracing = object<ProxyTracing>(
  {
    zipkin: object<{ readonly address?: string }>({ address: hostPort }),
    lightstep: object<{ readonly address?: string; readonly accessToken?: string }>({
      address: hostPort,
      accessToken: string(),
    }),
    datadog: object<{ readonly address?: string }>({ address: hostPort }),
    stackdriver: object<NonNullable<ProxyTracing['stackdriver']>>({
      debug: boolean,
      maxNumberOfAttributes: integer64,
      maxNumberOfAnnotations: integer64,
      maxNumberOfMessageEvents: integer64,
    }),
    openCensusAgent: object<NonNullable<ProxyTracing['openCensusAgent']>>({
      address: string(),
      context: list(oneOf('UNSPECIFIED', 'W3C_TRACE_CONTEXT', 'GRPC_BIN', 'CLOUD_TRACE_CONTEXT', 'B3')),
    }),
    customTags: map(
      object<ProxyTracingCustomTag>(
        { literal: object<Literal>({ value: string({ minLength: 1 }) }), environment: named, header: named },
        { atMostOneOf: [['literal', 'environment', 'header']] },
      ),
    ),
    maxPathTagLength: uint32,
    sampling: number({ min: 0, max: 100 }),
    tlsSettings: clientTls,
    enableIstioTags: boolean,
  },
  { atMostOneOf: [['zipkin', 'lightstep', 'datadog', 'stackdriver', 'openCensusAgent']] },
);

const remoteService = object<RemoteService>({ address: hostPort, tlsSettings: clientTls, tcpKeepalive });

const seconds = integer({ min: 0 });
type HttpGet = NonNullable<ReadinessProbe['httpGet']>;
const readinessProbe = object<ReadinessProbe>(
  {
    initialDelaySeconds: seconds,
    timeoutSeconds: seconds,
    periodSeconds: seconds,
    successThreshold: seconds,
    failureThreshold: seconds,
    httpGet: object<HttpGet>(
      {
        path: string(),
        port,
        host: string(),
        scheme: oneOf('HTTP', 'HTTPS', 'http', 'https'),
        httpHeaders: list(
          object<{ readonly name?: string; readonly value?: string }>({ name: string(), value: string() }),
        ),
      },
      { required: ['port'] },
    ),
    tcpSocket: object<NonNullable<ReadinessProbe['tcpSocket']>>(
      { host: string(), port },
      { required: ['port'] },
    ),
    exec: object<NonNullable<ReadinessProbe['exec']>>({ command: list(string()) }, { required: ['command'] }),
    grpc: object<NonNullable<ReadinessProbe['grpc']>>({ port, service: string() }),
  },
  { atMostOneOf: [['httpGet', 'tcpSocket', 'exec', 'grpc']] },
);

const accelerator = object<NonNullable<PrivateKeyProvider['qat']>>({
  pollDelay: duration(),
  fallback: boolean,
});
const disabled = object<{ readonly disabled?: boolean }>({ disabled: boolean });
const enabled = object<{ readonly enabled?: boolean }>({ enabled: boolean });

const proxyHeaders = object<ProxyHeaders>({
  forwardedClientCert: forwardDetails,
  setCurrentClientCertDetails: object<NonNullable<ProxyHeaders['setCurrentClientCertDetails']>>({
    subject: boolean,
    cert: boolean,
    chain: boolean,
    dns: boolean,
    uri: boolean,
  }),
  requestId: disabled,
  server: object<{ readonly disabled?: boolean; readonly value?: string }>({
    disabled: boolean,
    value: string(),
  }),
  attemptCount: disabled,
  envoyDebugHeaders: disabled,
  metadataExchangeHeaders: object<{ readonly mode?: 'UNDEFINED' | 'IN_MESH' }>({
    mode: oneOf('UNDEFINED', 'IN_MESH'),
  }),
  preserveHttp1HeaderCase: boolean,
  xForwardedHost: enabled,
  xForwardedPort: enabled,
});

const positive = integer({ min: 1 });
const anyDuration = duration({ minMs: 0 });
const connectionSettings = object<ConnectionSettings>({
  profile: oneOf('SIDECAR', 'EDGE'),
  listenerPerConnectionBufferLimitBytes: positive,
  clusterPerConnectionBufferLimitBytes: positive,
  httpIdleTimeout: anyDuration,
  httpMaxConnectionDuration: anyDuration,
  httpDrainTimeout: anyDuration,
  httpRequestTimeout: anyDuration,
  httpRequestHeadersTimeout: anyDuration,
  httpStreamIdleTimeout: anyDuration,
  httpMaxStreamDuration: anyDuration,
  httpMaxConcurrentStreams: positive,
  http2InitialStreamWindowSize: integer({ min: 65_535 }),
  http2InitialConnectionWindowSize: integer({ min: 65_535 }),
  httpHeadersWithUnderscoresAction: oneOf(
    'HEADERS_WITH_UNDERSCORES_UNSPECIFIED',
    'HEADERS_WITH_UNDERSCORES_ALLOW',
    'HEADERS_WITH_UNDERSCORES_REJECT_REQUEST',
    'HEADERS_WITH_UNDERSCORES_DROP_HEADER',
  ),
  httpMergeSlashes: boolean,
  httpPathWithEscapedSlashesAction: oneOf(
    'PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED',
    'KEEP_UNCHANGED',
    'REJECT_REQUEST',
    'UNESCAPE_AND_REDIRECT',
    'UNESCAPE_AND_FORWARD',
  ),
  listenerConnectionLimit: positive,
  globalDownstreamConnectionLimit: positive,
});

/** `ProxyConfig`: of MeshConfig.defaultConfig and of the annotation `proxy.istio.io/config`. */
export const proxyConfig: Schema<ProxyConfig> = object<ProxyConfig>(
  {
    configPath: string(),
    binaryPath: string(),
    serviceCluster: string(),
    tracingServiceName: oneOf(
      'APP_LABEL_AND_NAMESPACE',
      'CANONICAL_NAME_ONLY',
      'CANONICAL_NAME_AND_NAMESPACE',
    ),
    drainDuration: duration({ minMs: 1000 }),
    discoveryAddress: hostPort,
    discoveryRefreshDelay: anyDuration,
    zipkinAddress: hostPort,
    statsdUdpAddress: hostPort,
    envoyMetricsServiceAddress: hostPort,
    proxyAdminPort: port,
    availabilityZone: string(),
    controlPlaneAuthPolicy: oneOf('NONE', 'MUTUAL_TLS', 'INHERIT'),
    customConfigFile: string(),
    statNameLength: integer({ min: 0 }),
    concurrency: integer({ min: 0, max: 1024 }),
    proxyBootstrapTemplatePath: string(),
    interceptionMode: oneOf('REDIRECT', 'TPROXY', 'NONE'),
    tracing,
    sds: object<NonNullable<ProxyConfig['sds']>>({ enabled: boolean, k8sSaJwtPath: string() }),
    envoyAccessLogService: remoteService,
    envoyMetricsService: remoteService,
    proxyMetadata: map(string()),
    runtimeValues: map(string()),
    statusPort: port,
    extraStatTags: list(string()),
    gatewayTopology: object<Topology>({
      numTrustedProxies: uint32,
      forwardClientCertDetails: forwardDetails,
      proxyProtocol: emptyObject,
    }),
    terminationDrainDuration: anyDuration,
    meshId: string(),
    readinessProbe,
    proxyStatsMatcher: object<ProxyStatsMatcher>({
      inclusionPrefixes: list(string()),
      inclusionSuffixes: list(string()),
      inclusionRegexps: list(regex),
    }),
    holdApplicationUntilProxyStarts: boolean,
    caCertificatesPem: list(string()),
    image: object<{ readonly imageType?: string }>({ imageType: string() }),
    privateKeyProvider: object<PrivateKeyProvider>(
      { cryptomb: accelerator, qat: accelerator },
      { atMostOneOf: [['cryptomb', 'qat']] },
    ),
    proxyHeaders,
    fileFlushInterval: anyDuration,
    fileFlushMinSizeKb: uint32,
    statsCompression: boolean,
    connectionSettings,
  },
  { atMostOneOf: [['serviceCluster', 'tracingServiceName']] },
);
