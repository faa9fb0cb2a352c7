/** Schema of MeshConfig.extensionProviders. */
import { duration } from '../schema/duration.ts';
import { isFqdn, isAddress, isDnsLabel, port, uint32 } from '../schema/names.ts';
import {
  type Schema,
  anyObject,
  boolean,
  emptyObject,
  integer,
  list,
  map,
  object,
  oneOf,
  string,
} from '../schema/schema.ts';
import type {
  AccessLogFormat,
  EnvoyExternalAuthorizationGrpcProvider,
  EnvoyExternalAuthorizationHttpProvider,
  EnvoyFileAccessLogProvider,
  EnvoyHttpGrpcV3LogProvider,
  EnvoyOpenTelemetryLogProvider,
  EnvoyTcpGrpcV3LogProvider,
  ExtAuthzRequestBody,
  ExtensionProvider,
  OpenTelemetryTracingProvider,
  OtelGrpcService,
  OtelHttpService,
  ProviderHttpHeader,
  ServicePortRef,
  StackdriverProvider,
  ZipkinTracingProvider,
} from './extension_provider.ts';

const service = string({
  expected: 'a service as "host" or "namespace/host"',
  code: 'invalid_host',
  test(text) {
    const [first = '', second, ...more] = text.split('/');
    if (more.length > 0) return false;
    const host = second ?? first;
    return (second === undefined || isDnsLabel(first)) && (isFqdn(host) || isAddress(host));
  },
});
const at = { service, port };
const both = ['service', 'port'] as const;

const names = list(string());
const body = object<ExtAuthzRequestBody>({
  maxRequestBytes: uint32,
  allowPartialMessage: boolean,
  packAsBytes: boolean,
});
const status = string({
  expected: 'an HTTP status code, as a string',
  test: (text) => text === '' || /^[1-5]\d\d$/.test(text),
});
const timeout = duration();

const header = object<ProviderHttpHeader>(
  { name: string(), value: string(), envName: string() },
  { required: ['name'], atMostOneOf: [['value', 'envName']] },
);
const headers = list(header);
const httpService = object<OtelHttpService>({ path: string(), timeout, headers });
const grpcService = object<OtelGrpcService>({ timeout, initialMetadata: headers });
const logFormat = object<AccessLogFormat>(
  { text: string(), labels: anyObject },
  { atMostOneOf: [['text', 'labels']] },
);

const opentelemetry = object<OpenTelemetryTracingProvider>(
  {
    ...at,
    maxTagLength: uint32,
    http: httpService,
    grpc: grpcService,
    resourceDetectors: object<NonNullable<OpenTelemetryTracingProvider['resourceDetectors']>>({
      environment: emptyObject,
      dynatrace: emptyObject,
    }),
    serviceAttributeEnrichment: oneOf('ISTIO_CANONICAL', 'OTEL_SEMANTIC_CONVENTIONS'),
    dynatraceSampler: object<NonNullable<OpenTelemetryTracingProvider['dynatraceSampler']>>({
      tenant: string(),
      clusterId: integer(),
      rootSpansPerMinute: uint32,
      httpService: object<ServicePortRef & { readonly http?: OtelHttpService }>({ ...at, http: httpService }),
    }),
  },
  { required: both, atMostOneOf: [['http', 'grpc']] },
);

type Opencensus = NonNullable<ExtensionProvider['opencensus']>;
type Traced = ServicePortRef & { readonly maxTagLength?: number };
type Tokened = ServicePortRef & { readonly accessToken?: string };
const integer64 = integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });

const blocks = {
  envoyExtAuthzHttp: object<EnvoyExternalAuthorizationHttpProvider>(
    {
      ...at,
      timeout,
      pathPrefix: string(),
      failOpen: boolean,
      clearRouteCache: boolean,
      statusOnError: status,
      includeHeadersInCheck: names,
      includeRequestHeadersInCheck: names,
      includeAdditionalHeadersInCheck: map(string()),
      includeRequestBodyInCheck: body,
      headersToUpstreamOnAllow: names,
      headersToDownstreamOnDeny: names,
      headersToDownstreamOnAllow: names,
    },
    { required: both },
  ),
  envoyExtAuthzGrpc: object<EnvoyExternalAuthorizationGrpcProvider>(
    {
      ...at,
      timeout,
      failOpen: boolean,
      clearRouteCache: boolean,
      statusOnError: status,
      includeRequestBodyInCheck: body,
    },
    { required: both },
  ),
  zipkin: object<ZipkinTracingProvider>(
    {
      ...at,
      maxTagLength: uint32,
      enable64bitTraceId: boolean,
      path: string(),
      traceContextOption: oneOf('USE_B3', 'USE_B3_WITH_W3C_PROPAGATION'),
      timeout,
      headers,
    },
    { required: both },
  ),
  lightstep: object<Traced & Tokened>(
    { ...at, accessToken: string(), maxTagLength: uint32 },
    { required: both },
  ),
  datadog: object<Traced>({ ...at, maxTagLength: uint32 }, { required: both }),
  stackdriver: object<StackdriverProvider>({
    debug: boolean,
    maxNumberOfAttributes: integer64,
    maxNumberOfAnnotations: integer64,
    maxNumberOfMessageEvents: integer64,
    maxTagLength: uint32,
    logging: object<NonNullable<StackdriverProvider['logging']>>({ labels: map(string()) }),
  }),
  opencensus: object<Opencensus>(
    {
      ...at,
      context: list(oneOf('UNSPECIFIED', 'W3C_TRACE_CONTEXT', 'GRPC_BIN', 'CLOUD_TRACE_CONTEXT', 'B3')),
      maxTagLength: uint32,
    },
    { required: both },
  ),
  skywalking: object<Tokened>({ ...at, accessToken: string() }, { required: both }),
  opentelemetry,
  prometheus: emptyObject,
  envoyFileAccessLog: object<EnvoyFileAccessLogProvider>({
    path: string(),
    logFormat,
    omitEmptyValues: boolean,
  }),
  envoyHttpAls: object<EnvoyHttpGrpcV3LogProvider>(
    {
      ...at,
      logName: string(),
      filterStateObjectsToLog: names,
      additionalRequestHeadersToLog: names,
      additionalResponseHeadersToLog: names,
      additionalResponseTrailersToLog: names,
    },
    { required: both },
  ),
  envoyTcpAls: object<EnvoyTcpGrpcV3LogProvider>(
    { ...at, logName: string(), filterStateObjectsToLog: names },
    { required: both },
  ),
  envoyOtelAls: object<EnvoyOpenTelemetryLogProvider>(
    { ...at, logName: string(), logFormat },
    { required: both },
  ),
  sds: object<ServicePortRef & { readonly name?: string }>({ ...at, name: string() }, { required: both }),
};

/** One provider: a name and exactly one block. */
export const extensionProvider: Schema<ExtensionProvider> = object<ExtensionProvider>(
  { name: string(), ...blocks },
  {
    required: ['name'],
    atMostOneOf: [Object.keys(blocks) as (keyof typeof blocks)[]],
    rule(provider, checker) {
      if (Object.keys(provider).length < 2)
        checker.error('missing_field', `required: one of ${Object.keys(blocks).join(', ')}`);
    },
  },
);
