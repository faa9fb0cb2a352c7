/** Extension `envoy.filters.http.compressor`: responses. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type Compressor,
  CompressorPerRouteSchema,
  CompressorSchema,
} from '#api/gen/envoy/extensions/filters/http/compressor/v3/compressor_pb.ts';
import type { RuntimeFeatureFlag } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { Counter } from '#telemetry/metrics.ts';
import type { FactoryContext, HttpFilterExtension } from '../../../factory_context.ts';
import { compileStringMatcher, type StringPredicate } from '../../../http/string_matcher.ts';
import { type CompressorLibrary, readLibrary } from './libraries.ts';
import { CompressorFilter } from './compressor.ts';

/** What Envoy compresses where the configuration has no list. */
const defaultTypes = [
  'application/javascript',
  'application/json',
  'application/xhtml+xml',
  'image/svg+xml',
  'text/css',
  'text/html',
  'text/plain',
  'text/xml',
];

/** Counted for the direction. */
const directionNames = [
  'compressed',
  'not_compressed',
  'total_uncompressed_bytes',
  'total_compressed_bytes',
  'content_length_too_small',
] as const;
/** Of the request's header, without a direction. */
const headerNames = [
  'no_accept_header',
  'header_compressor_used',
  'header_compressor_overshadowed',
  'header_identity',
  'header_not_valid',
  'header_wildcard',
  'not_compressed_etag',
] as const;
type CounterName = (typeof directionNames)[number] | (typeof headerNames)[number];
export type CompressorStats = Readonly<Record<CounterName, Counter>>;

export interface CompressorSettings {
  readonly filterName: string;
  readonly library: CompressorLibrary;
  readonly enabled: () => boolean;
  readonly minBytes: number;
  readonly allowsType: (contentType: string) => boolean;
  readonly disableOnEtag: boolean;
  readonly weakenEtag: boolean;
  readonly removeAcceptEncoding: boolean;
  readonly uncompressible: ReadonlySet<number>;
  readonly chooseFirst: boolean;
  readonly stats: CompressorStats;
}

/** Of a route. Undefined fields leave the filter's own. */
export interface RouteCompressor {
  readonly disabled: boolean;
  readonly removeAcceptEncoding: boolean | undefined;
  readonly library: CompressorLibrary | undefined;
}

function flagOf(
  flag: RuntimeFeatureFlag | undefined,
  context: FactoryContext,
  absent: boolean,
): () => boolean {
  const fallback = flag?.defaultValue ?? absent;
  const key = flag?.runtimeKey ?? '';
  return key === '' ? () => fallback : () => context.runtime.boolean(key, fallback);
}

function typePredicate(
  types: readonly string[],
  matchers: readonly StringPredicate[],
): (type: string) => boolean {
  const exact = new Set(types.length === 0 && matchers.length === 0 ? defaultTypes : types);
  return (contentType) => {
    const semicolon = contentType.indexOf(';');
    const type = (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim();
    return exact.has(type) || matchers.some((matches) => matches(type));
  };
}

function statsOf(context: FactoryContext, proto: Compressor, library: CompressorLibrary): CompressorStats {
  const direction = proto.responseDirectionConfig === undefined ? '' : 'response_';
  const labels = {
    envoy_http_conn_manager_prefix: context.statPrefix ?? '',
    envoy_compressor_library: `${proto.compressorLibrary?.name ?? ''}.${library.statName}`,
  };
  const counter = (name: string): Counter => context.metrics.counter(`envoy_http_compressor_${name}`, labels);
  return Object.fromEntries([
    ...directionNames.map((name) => [name, counter(`${direction}${name}`)]),
    ...headerNames.map((name) => [name, counter(name)]),
  ]) as Record<CounterName, Counter>;
}

function compile(proto: Compressor, context: FactoryContext, filterName: string): CompressorSettings {
  const request = proto.requestDirectionConfig?.commonConfig?.enabled;
  if (proto.requestDirectionConfig !== undefined && (request?.defaultValue === true || request?.runtimeKey))
    throw new Error('request_direction_config is not supported');
  const library = readLibrary(proto.compressorLibrary);
  const response = proto.responseDirectionConfig;
  if (response?.statusHeaderEnabled === true)
    throw new Error('response_direction_config.status_header_enabled is not supported');
  const own = response?.commonConfig;
  return {
    filterName,
    library,
    enabled: flagOf(response === undefined ? proto.runtimeEnabled : own?.enabled, context, true),
    minBytes: (response === undefined ? proto.contentLength : own?.minContentLength) ?? 30,
    allowsType: typePredicate(
      response === undefined ? proto.contentType : (own?.contentType ?? []),
      (own?.contentTypeMatcher ?? []).map(compileStringMatcher),
    ),
    disableOnEtag: response?.disableOnEtagHeader ?? proto.disableOnEtagHeader,
    weakenEtag: response?.weakenEtagOnCompress ?? false,
    removeAcceptEncoding: response?.removeAcceptEncodingHeader ?? proto.removeAcceptEncodingHeader,
    uncompressible: new Set(response?.uncompressibleResponseCodes),
    chooseFirst: proto.chooseFirst,
    stats: statsOf(context, proto, library),
  };
}

export const compressor = {
  name: 'envoy.filters.http.compressor',
  typeUrls: [typeUrlOf(CompressorSchema), typeUrlOf(CompressorPerRouteSchema)],
  create(config, context, filterName) {
    const settings = compile(fromBinary(CompressorSchema, config.value), context, filterName);
    return { createFilter: (callbacks) => new CompressorFilter(callbacks, settings) };
  },
  createRouteConfig(config): RouteCompressor {
    const { override } = fromBinary(CompressorPerRouteSchema, config.value);
    if (override.case === 'disabled')
      return { disabled: override.value, removeAcceptEncoding: undefined, library: undefined };
    const overrides = override.case === 'overrides' ? override.value : undefined;
    return {
      disabled: false,
      removeAcceptEncoding: overrides?.responseDirectionConfig?.removeAcceptEncodingHeader,
      library:
        overrides?.compressorLibrary === undefined ? undefined : readLibrary(overrides.compressorLibrary),
    };
  },
} as const satisfies HttpFilterExtension;
