/** `HttpConnectionManager` in the form that requests read; built once per filter chain. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  HttpConnectionManagerSchema,
  type HttpConnectionManager as Proto,
  type HttpFilter as HttpFilterProto,
  HttpConnectionManager_CodecType as CodecType,
  HttpConnectionManager_ForwardClientCertDetails as CertMode,
  HttpConnectionManager_PathWithEscapedSlashesAction as SlashAction,
  HttpConnectionManager_ServerHeaderTransformation as ServerTransformation,
} from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { HttpProtocolOptions_HeadersWithUnderscoresAction as Underscores } from '#api/gen/envoy/config/core/v3/protocol_pb.ts';
import {
  type AccessLogger,
  type FactoryContext,
  findExtension,
  type HttpFilterExtension,
  type RouteConfigProvider,
} from '../../../factory_context.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { FilterChain, type FilterChainEntry } from '../../../http/filter_chain.ts';
import type { TerminalHttpFilterFactory } from '../../../http/filter.ts';
import { properCaseWords } from '../../../http/http1/head_encoder.ts';
import { defaultServerOptions, type Http1ServerOptions } from '../../../http/http1/server_connection.ts';
import type { Http2Options } from '../../../http/http2/options.ts';
import { readHttp2Options } from '../../../http/http2_options.ts';
import type { EscapedSlashesAction, PathOptions } from '../../../http/path_normalization.ts';
import { durationMs } from '../../../network/duration.ts';
import type { OverloadState } from '../../../network/overload_state.ts';
import type { RouteTable } from '../../../router/route_config.ts';
import {
  type ClientCertOptions,
  clientCertOptions,
  type ForwardClientCert,
} from './forwarded_client_cert.ts';
import { type InternalAddresses, internalAddresses } from './forwarded_for.ts';
import { compileLocalReplyConfig, type LocalReplyMapper } from './local_reply_config.ts';
import type { RequestIdOptions } from './request_id.ts';
import { HcmStats } from './stats.ts';
import { compileTracing, type HttpTracing } from './tracing.ts';
import { refuseFields } from '../../../network/refused_fields.ts';

export interface HcmUpgrade {
  readonly enabled: boolean;
  /** Undefined uses the filters of plain requests. */
  readonly chain: FilterChain | undefined;
}

/** Shares of requests that are traced, 0 to 1. */
export interface TracingOptions {
  readonly clientSampling: number;
  readonly randomSampling: number;
  readonly overallSampling: number;
}

export interface HcmConfig {
  readonly codec: 'auto' | 'http1' | 'http2';
  readonly http1: Http1ServerOptions;
  readonly http2: Http2Options;
  readonly routes: RouteConfigProvider<RouteTable>;
  readonly chain: FilterChain;
  readonly upgrades: ReadonlyMap<string, HcmUpgrade>;
  readonly accessLoggers: readonly AccessLogger[];
  /** Changes replies of the proxy's own; undefined leaves them. */
  readonly localReplies: LocalReplyMapper | undefined;
  readonly stats: HcmStats;
  readonly clusters: ClusterManager;
  readonly random: () => number;
  readonly overload: OverloadState;
  readonly bufferLimit: number;

  readonly serverName: string;
  readonly serverHeader: 'overwrite' | 'append_if_absent' | 'pass_through';
  /** `via` to append; empty for none. */
  readonly via: string;
  /** Overwrites `:scheme`; empty for none. */
  readonly scheme: string;
  /** Who we are, for `add_user_agent`; undefined without it. */
  readonly userAgent: { readonly cluster: string; readonly node: string } | undefined;
  readonly useRemoteAddress: boolean;
  readonly trustedHops: number;
  readonly skipXffAppend: boolean;
  readonly appendForwardedPort: boolean;
  readonly internal: InternalAddresses | undefined;
  readonly requestId: RequestIdOptions;
  readonly alwaysRequestIdInResponse: boolean;
  readonly clientCert: ClientCertOptions;
  readonly proxy100Continue: boolean;
  readonly path: PathOptions;
  /** Paths with a fragment are refused; else the fragment is cut off. */
  readonly rejectsFragments: () => boolean;
  /** True when paths must be looked at for normalization. */
  readonly changesPath: boolean;
  readonly stripPort: 'no' | 'matching' | 'any';
  readonly stripTrailingDot: boolean;
  readonly tracing: TracingOptions | undefined;
  /** Undefined when no spans are made. */
  readonly spans: HttpTracing | undefined;

  // Milliseconds; 0 means none.
  readonly idleTimeoutMs: number;
  readonly streamIdleTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly requestHeadersTimeoutMs: number;
  readonly maxStreamDurationMs: number;
  readonly maxConnectionDurationMs: number;
  /** 0 means no bound. */
  readonly maxRequestsPerConnection: number;
}

/** Runtime key of Envoy's guard. */
const rejectFragmentKey = 'envoy.reloadable_features.http_reject_path_with_fragment';

/** Defaults of Envoy, milliseconds. */
const defaultIdleMs = 3_600_000;
const defaultStreamIdleMs = 300_000;
/** Bytes one direction of a request may hold back where the listener has no `per_connection_buffer_limit_bytes`. */
const defaultBufferLimit = 1024 * 1024;

const certModes: Readonly<Record<number, ForwardClientCert>> = {
  [CertMode.SANITIZE]: 'sanitize',
  [CertMode.FORWARD_ONLY]: 'forward_only',
  [CertMode.APPEND_FORWARD]: 'append_forward',
  [CertMode.SANITIZE_SET]: 'sanitize_set',
  [CertMode.ALWAYS_FORWARD_ONLY]: 'always_forward_only',
};

const slashActions: Readonly<Record<number, EscapedSlashesAction>> = {
  [SlashAction.REJECT_REQUEST]: 'reject',
  [SlashAction.UNESCAPE_AND_REDIRECT]: 'redirect',
  [SlashAction.UNESCAPE_AND_FORWARD]: 'forward',
};

function buildChain(filters: readonly HttpFilterProto[], context: FactoryContext): FilterChain {
  const entries: FilterChainEntry[] = [];
  let terminal: TerminalHttpFilterFactory | undefined;
  filters.forEach((filter, i) => {
    const at = `http_filters[${i}] '${filter.name}'`;
    if (terminal !== undefined) throw new Error(`${at}: stands after the terminal filter`);
    if (filter.configType.case === 'configDiscovery')
      throw new Error(`${at}: config_discovery is not supported here`);
    const any = filter.configType.value;
    const found = findExtension<HttpFilterExtension>(context.registry, 'http_filter', filter.name, any);
    if (found === undefined) {
      if (filter.isOptional) {
        context.log.debug(`skipped optional HTTP filter ${filter.name}`);
        return;
      }
      throw new Error(`${at}: no filter is known for ${any?.typeUrl ?? 'it'}`);
    }
    let factory: ReturnType<HttpFilterExtension['create']>;
    try {
      factory = found.factory.create(found.config, context, filter.name);
    } catch (error) {
      throw new Error(`${at}: ${(error as Error).message}`, { cause: error });
    }
    if (factory.terminal === true) terminal = factory;
    else entries.push({ name: filter.name, factory, disabled: filter.disabled });
  });
  if (terminal === undefined)
    throw new Error('http_filters: the last one must be a terminal filter (router)');
  return new FilterChain(entries, terminal);
}

function underscoresOf(proto: Proto): Http1ServerOptions['underscores'] {
  switch (proto.commonHttpProtocolOptions?.headersWithUnderscoresAction) {
    case Underscores.REJECT_REQUEST:
      return 'reject';
    case Underscores.DROP_HEADER:
      return 'drop';
    default:
      return 'allow';
  }
}

function http1Options(proto: Proto, bufferLimit: number): Http1ServerOptions {
  const options = proto.httpProtocolOptions;
  const common = proto.commonHttpProtocolOptions;
  const format = options?.headerKeyFormat?.headerFormat;
  if (format?.case === 'statefulFormatter')
    throw new Error('http_protocol_options.header_key_format.stateful_formatter is not supported');
  return {
    ...defaultServerOptions,
    maxHeadBytes: (proto.maxRequestHeadersKb ?? 60) * 1024,
    maxHeaders: common?.maxHeadersCount ?? 100,
    underscores: underscoresOf(proto),
    customMethods: options?.allowCustomMethods ?? false,
    allowChunkedLength: options?.allowChunkedLength ?? false,
    acceptHttp10: options?.acceptHttp10 ?? false,
    defaultHost: options?.defaultHostForHttp10 ?? '',
    allowAbsoluteUrl: options?.allowAbsoluteUrl ?? true,
    enableTrailers: options?.enableTrailers ?? false,
    highWatermark: bufferLimit,
    delayedCloseMs: durationMs(proto.delayedCloseTimeout) ?? 1000,
    headTimeoutMs: durationMs(proto.requestHeadersTimeout) ?? 0,
    nameFormat: format?.case === 'properCaseWords' ? properCaseWords : undefined,
  };
}

function http2Options(proto: Proto, bufferLimit: number): Http2Options {
  return readHttp2Options(proto.http2ProtocolOptions, {
    maxHeadersKb: proto.maxRequestHeadersKb ?? 60,
    maxHeadersCount: proto.commonHttpProtocolOptions?.maxHeadersCount ?? 100,
    underscores: underscoresOf(proto),
    highWatermark: bufferLimit,
    drainTimeoutMs: durationMs(proto.drainTimeout) ?? 5000,
    delayedCloseMs: durationMs(proto.delayedCloseTimeout) ?? 1000,
  });
}

function routeProvider(proto: Proto, context: FactoryContext): RouteConfigProvider<RouteTable> {
  const { routeSpecifier: specifier } = proto;
  switch (specifier.case) {
    case 'rds':
      return context.routeConfig<RouteTable>({
        rds: specifier.value.routeConfigName,
        configSource: specifier.value.configSource,
      });
    case 'routeConfig':
      return context.routeConfig<RouteTable>({ inline: specifier.value });
    case 'scopedRoutes':
      throw new Error('scoped_routes are not supported');
    default:
      throw new Error('route_config or rds is missing');
  }
}

/** Reads and checks the configuration. Throws Error that names the field. */
export function readConfig(value: Uint8Array, context: FactoryContext): HcmConfig {
  const proto = fromBinary(HttpConnectionManagerSchema, value);
  if (proto.codecType === CodecType.HTTP3) throw new Error('codec_type HTTP3 is not supported');
  refuseFields(proto);
  refuseFields(proto.commonHttpProtocolOptions, 'common_http_protocol_options.');
  refuseFields(proto.httpProtocolOptions, 'http_protocol_options.');
  refuseFields(proto.tracing, 'tracing.');
  refuseFields(proto.schemeHeaderTransformation, 'scheme_header_transformation.');
  if (proto.originalIpDetectionExtensions.length > 0)
    throw new Error('original_ip_detection_extensions are not supported');
  const bufferLimit = context.bufferLimitBytes ?? defaultBufferLimit;
  const own = { ...context, statPrefix: proto.statPrefix };
  const chain = buildChain(proto.httpFilters, own);
  const upgrades = new Map<string, HcmUpgrade>();
  for (const upgrade of proto.upgradeConfigs) {
    const type = upgrade.upgradeType.toLowerCase();
    if (upgrades.has(type)) throw new Error(`upgrade_configs: ${type} stands twice`);
    const filters = upgrade.filters.length === 0 ? undefined : buildChain(upgrade.filters, own);
    upgrades.set(type, { enabled: upgrade.enabled ?? true, chain: filters });
  }
  const common = proto.commonHttpProtocolOptions;
  const { tracing } = proto;
  const share = (percent: { value: number } | undefined): number => (percent?.value ?? 100) / 100;
  const path: PathOptions = {
    normalize: proto.normalizePath ?? false,
    mergeSlashes: proto.mergeSlashes,
    escapedSlashes: slashActions[proto.pathWithEscapedSlashesAction] ?? 'keep',
  };
  const transformation = proto.serverHeaderTransformation;
  return {
    codec:
      proto.codecType === CodecType.HTTP1 ? 'http1' : proto.codecType === CodecType.HTTP2 ? 'http2' : 'auto',
    http1: http1Options(proto, bufferLimit),
    http2: http2Options(proto, bufferLimit),
    routes: routeProvider(proto, context),
    chain,
    upgrades,
    accessLoggers: context.accessLoggers(proto.accessLog),
    localReplies: compileLocalReplyConfig(proto.localReplyConfig, context),
    stats: new HcmStats(context.metrics, proto.statPrefix),
    clusters: context.clusterManager,
    random: () => context.random(),
    overload: context.overload,
    bufferLimit,
    serverName: proto.serverName === '' ? 'envoy' : proto.serverName,
    serverHeader:
      transformation === ServerTransformation.APPEND_IF_ABSENT
        ? 'append_if_absent'
        : transformation === ServerTransformation.PASS_THROUGH
          ? 'pass_through'
          : 'overwrite',
    via: proto.via,
    scheme:
      proto.schemeHeaderTransformation?.transformation.case === 'schemeToOverwrite'
        ? proto.schemeHeaderTransformation.transformation.value
        : '',
    userAgent:
      proto.addUserAgent === true ? { cluster: context.node.cluster, node: context.node.id } : undefined,
    useRemoteAddress: proto.useRemoteAddress ?? false,
    trustedHops: proto.xffNumTrustedHops,
    skipXffAppend: proto.skipXffAppend,
    appendForwardedPort: proto.appendXForwardedPort,
    internal: internalAddresses(proto.internalAddressConfig),
    requestId: {
      generate: proto.generateRequestId ?? true,
      preserveExternal: proto.preserveExternalRequestId,
    },
    alwaysRequestIdInResponse: proto.alwaysSetRequestIdInResponse,
    clientCert: clientCertOptions(
      certModes[proto.forwardClientCertDetails] ?? 'sanitize',
      proto.setCurrentClientCertDetails,
    ),
    proxy100Continue: proto.proxy100Continue,
    path,
    rejectsFragments: () => context.runtime.boolean(rejectFragmentKey, true),
    changesPath: path.normalize || path.mergeSlashes || path.escapedSlashes !== 'keep',
    stripPort:
      proto.stripPortMode.case === 'stripAnyHostPort' && proto.stripPortMode.value
        ? 'any'
        : proto.stripMatchingHostPort
          ? 'matching'
          : 'no',
    stripTrailingDot: proto.stripTrailingHostDot,
    tracing:
      tracing === undefined
        ? undefined
        : {
            clientSampling: share(tracing.clientSampling),
            randomSampling: share(tracing.randomSampling),
            overallSampling: share(tracing.overallSampling),
          },
    spans: tracing === undefined ? undefined : compileTracing(tracing, own),
    idleTimeoutMs: durationMs(common?.idleTimeout) ?? defaultIdleMs,
    streamIdleTimeoutMs: durationMs(proto.streamIdleTimeout) ?? defaultStreamIdleMs,
    requestTimeoutMs: durationMs(proto.requestTimeout) ?? 0,
    requestHeadersTimeoutMs: durationMs(proto.requestHeadersTimeout) ?? 0,
    maxStreamDurationMs: durationMs(common?.maxStreamDuration) ?? 0,
    maxConnectionDurationMs: durationMs(common?.maxConnectionDuration) ?? 0,
    maxRequestsPerConnection: common?.maxRequestsPerConnection ?? 0,
  };
}
