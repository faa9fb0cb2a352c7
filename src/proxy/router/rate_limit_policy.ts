/**
 * `envoy.config.route.v3.RateLimit`: which descriptors a request has. Routes and virtual hosts carry them compiled; the
 * rate limit filters, local and global, ask them.
 */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type RateLimit,
  type RateLimit_Action,
  RateLimit_Action_MetaData_Source as MetadataSource,
  type RateLimit_Action_MaskedRemoteAddress,
  RateLimit_XRateLimitOption as XRateLimitOption,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { TypedExtensionConfig } from '#api/gen/envoy/config/core/v3/extension_pb.ts';
import { DescriptorSchema } from '#api/gen/envoy/extensions/rate_limit_descriptors/expr/v3/expr_pb.ts';
import type { MetadataKey } from '#api/gen/envoy/type/metadata/v3/metadata_pb.ts';
import { RateLimitUnit } from '#api/gen/envoy/type/v3/ratelimit_unit_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import { celText, compileCelExpression } from '../cel/expression.ts';
import { compileHeaderFormat } from '../http/header_formatter.ts';
import type { RequestHeaderMap } from '../http/header_map.ts';
import { compileHeaderMatchers } from '../http/header_matcher.ts';
import { cidrContains, createCidr, formatIp, parseIp } from '../network/ip.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import { compileQueryMatchers, queryParameter } from './route_match.ts';

/** One pair of a descriptor. */
export interface DescriptorEntry {
  readonly key: string;
  readonly value: string;
}

/** A limit that the request brings along in place of the one that the service has for its descriptor. */
export interface LimitOverride {
  readonly requestsPerUnit: number;
  readonly unit: RateLimitUnit;
}

/** What a request is counted by. */
export interface Descriptor {
  readonly entries: readonly DescriptorEntry[];
  readonly limit: LimitOverride | undefined;
  /** How much the request counts; undefined takes the filter's, 1 by default. */
  readonly hits: number | undefined;
  /** Whether x-ratelimit headers tell of this descriptor; undefined leaves it to the filter. */
  readonly xRateLimit: boolean | undefined;
}

/** What actions look at. */
export interface DescriptorInput {
  readonly headers: RequestHeaderMap;
  readonly info: StreamInfo;
  readonly route: {
    readonly clusterName: string;
    readonly metadata: Readonly<Record<string, unknown>> | undefined;
  };
  /** `source_cluster`: the service of this proxy (node.cluster). */
  readonly localCluster: string;
}

/** One `RateLimit`. */
export interface RateLimitPolicy {
  /** 0 to 10. */
  readonly stage: number;
  /** Counts when the response is complete: nothing waits for the answer. */
  readonly onStreamDone: boolean;
  /** Undefined when an action finds nothing to say: the request has no such descriptor. */
  describe(input: DescriptorInput): Descriptor | undefined;
}

/** `omit` leaves the descriptor without the entry, `none` makes that there is no descriptor. */
type ActionResult = DescriptorEntry | 'omit' | 'none';
type Action = (input: DescriptorInput) => ActionResult;

/** Entries of one descriptor, and policies of one place. */
const maxActions = 64;
const maxPolicies = 256;

function valueAt(source: unknown, key: MetadataKey | undefined): unknown {
  let value: unknown = (source as Record<string, unknown> | undefined)?.[key?.key ?? ''];
  for (const { segment } of key?.path ?? []) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment.value ?? ''))
      return undefined;
    value = (value as Record<string, unknown>)[segment.value ?? ''];
  }
  return value;
}

function dynamicValue(info: StreamInfo, key: MetadataKey | undefined): unknown {
  const space = key?.key ?? '';
  return valueAt({ [space]: info.dynamicMetadata?.get(space) }, key);
}

/** An entry with a fixed value; `fallback` stands for an empty one. */
function fixedEntry(key: string, value: string, fallback: string): Action {
  const entry: ActionResult = value !== '' || fallback !== '' ? { key, value: value || fallback } : 'none';
  return () => entry;
}

/** Percent-encoded text of a query; what is malformed stays as it is. */
function decodeQuery(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function maskedAddress({
  v4PrefixMaskLen = 32,
  v6PrefixMaskLen = 128,
}: RateLimit_Action_MaskedRemoteAddress): Action {
  return ({ info }) => {
    const bytes = parseIp(info.remoteAddress.ip);
    if (bytes === undefined) return 'none';
    const bits = bytes.length === 4 ? v4PrefixMaskLen : v6PrefixMaskLen;
    const { prefix } = createCidr(formatIp(bytes), bits);
    return { key: 'masked_remote_address', value: `${formatIp(prefix)}/${bits}` };
  };
}

function compileAction({ actionSpecifier: specifier }: RateLimit_Action): Action {
  switch (specifier.case) {
    case 'sourceCluster':
      return ({ localCluster }) => ({ key: 'source_cluster', value: localCluster });
    case 'destinationCluster':
      return ({ route }) => ({ key: 'destination_cluster', value: route.clusterName });
    case 'requestHeaders': {
      const { headerName, descriptorKey: key, skipIfAbsent } = specifier.value;
      const name = headerName.toLowerCase();
      return ({ headers }) => {
        const value = name.startsWith(':') ? headers.get(name) : headers.getFirst(name);
        if (value === undefined) return skipIfAbsent ? 'omit' : 'none';
        return { key, value };
      };
    }
    case 'queryParameters': {
      const { queryParameterName: name, descriptorKey: key, skipIfAbsent } = specifier.value;
      return ({ headers }) => {
        const value = queryParameter(headers.path, name);
        if (value === undefined) return skipIfAbsent ? 'omit' : 'none';
        return { key, value: decodeQuery(value) };
      };
    }
    case 'remoteAddress':
      return ({ info }) =>
        info.remoteAddress.port < 0 ? 'none' : { key: 'remote_address', value: info.remoteAddress.ip };
    case 'maskedRemoteAddress':
      return maskedAddress(specifier.value);
    case 'genericKey': {
      const { descriptorKey, descriptorValue, defaultValue } = specifier.value;
      return fixedEntry(descriptorKey || 'generic_key', descriptorValue, defaultValue);
    }
    case 'headerValueMatch': {
      const { descriptorKey, descriptorValue, defaultValue, expectMatch, headers } = specifier.value;
      const matches = compileHeaderMatchers(headers);
      const entry = fixedEntry(descriptorKey || 'header_match', descriptorValue, defaultValue);
      const wanted = expectMatch ?? true;
      return (input) => ((matches?.(input.headers) ?? true) === wanted ? entry(input) : 'none');
    }
    case 'queryParameterValueMatch': {
      const { descriptorKey, descriptorValue, defaultValue, expectMatch, queryParameters } = specifier.value;
      const matches = compileQueryMatchers(queryParameters);
      const entry = fixedEntry(descriptorKey || 'query_match', descriptorValue, defaultValue);
      const wanted = expectMatch ?? true;
      return (input) => (matches(input.headers.path) === wanted ? entry(input) : 'none');
    }
    case 'remoteAddressMatch': {
      const { descriptorKey, descriptorValue, defaultValue, addressMatcher } = specifier.value;
      const blocks = (addressMatcher?.ranges ?? []).map((range) =>
        createCidr(range.addressPrefix, range.prefixLen ?? 0),
      );
      const invert = addressMatcher?.invertMatch ?? false;
      const entry = fixedEntry(descriptorKey || 'remote_address_match', descriptorValue, defaultValue);
      return (input) => {
        const bytes = parseIp(input.info.remoteAddress.ip);
        if (bytes === undefined) return 'none';
        return blocks.some((block) => cidrContains(block, bytes)) === invert ? 'none' : entry(input);
      };
    }
    case 'dynamicMetadata': {
      const { descriptorKey: key, metadataKey, defaultValue } = specifier.value;
      return ({ info }) => metadataEntry(key, dynamicValue(info, metadataKey), defaultValue, false);
    }
    case 'metadata': {
      const { descriptorKey: key, metadataKey, defaultValue, source, skipIfAbsent } = specifier.value;
      const ofRoute = source === MetadataSource.ROUTE_ENTRY;
      return ({ info, route }) =>
        metadataEntry(
          key,
          ofRoute ? valueAt(route.metadata, metadataKey) : dynamicValue(info, metadataKey),
          defaultValue,
          skipIfAbsent,
        );
    }
    case 'extension':
      return celAction(specifier.value);
    default:
      throw new Error('rate limit action without a specifier');
  }
}

/** `envoy.rate_limit_descriptors.expr`: the value of a CEL expression; the service limits by it. */
function celAction({ name, typedConfig }: TypedExtensionConfig): Action {
  if (typedConfig?.typeUrl !== typeUrlOf(DescriptorSchema))
    throw new Error(`rate limit action extension ${name} is not supported`);
  const { descriptorKey, skipIfError, exprSpecifier } = fromBinary(DescriptorSchema, typedConfig.value);
  if (descriptorKey === '') throw new Error(`rate limit action ${name} without descriptor_key`);
  if (exprSpecifier.case !== 'text')
    throw new Error(`rate limit action ${name}: write the expression as text, parsed ones are not supported`);
  const evaluate = compileCelExpression(exprSpecifier.value);
  return ({ headers, info }) => {
    const value = celText(evaluate({ info, request: headers, response: undefined, trailers: undefined }));
    if (value !== undefined) return { key: descriptorKey, value };
    return skipIfError ? 'omit' : 'none';
  };
}

function metadataEntry(key: string, found: unknown, fallback: string, skip: boolean): ActionResult {
  const value = typeof found === 'string' && found !== '' ? found : fallback;
  if (value !== '') return { key, value };
  return skip ? 'omit' : 'none';
}

/** `limit.dynamic_metadata`: a struct with `requests_per_unit` and `unit`. */
function readOverride(found: unknown): LimitOverride | undefined {
  if (typeof found !== 'object' || found === null) return undefined;
  const { requests_per_unit: requests, unit } = found as Record<string, unknown>;
  const known = typeof unit === 'string' ? RateLimitUnit[unit as keyof typeof RateLimitUnit] : undefined;
  if (typeof requests !== 'number' || known === undefined) return undefined;
  return { requestsPerUnit: Math.max(0, Math.floor(requests)), unit: known };
}

function compileOverride(policy: RateLimit): (info: StreamInfo) => LimitOverride | undefined {
  const specifier = policy.limit?.overrideSpecifier;
  if (specifier?.case === 'dynamicMetadata') {
    const { metadataKey } = specifier.value;
    return (info) => readOverride(dynamicValue(info, metadataKey));
  }
  if (specifier?.case === 'rateLimit') {
    const { requestsPerUnit, unit } = specifier.value;
    return () => ({ requestsPerUnit, unit });
  }
  return () => undefined;
}

/** `hits_addend`: a number, or a format that gives one. */
function compileHits(policy: RateLimit): (input: DescriptorInput) => number | undefined {
  const addend = policy.hitsAddend;
  if (addend === undefined) return () => undefined;
  if (addend.isNegativeHits) throw new Error('hits_addend.is_negative_hits is not implemented');
  if (addend.format === '') {
    const fixed = addend.number === undefined ? undefined : Number(addend.number);
    return () => fixed;
  }
  const format = compileHeaderFormat(addend.format);
  return ({ headers, info }) => {
    const value =
      typeof format === 'string' ? format : format({ info, request: headers, response: undefined });
    return /^\d{1,10}$/.test(value) ? Number(value) : undefined;
  };
}

function compilePolicy(policy: RateLimit, inFilter: boolean): RateLimitPolicy {
  const stage = policy.stage ?? 0;
  if (stage > 10) throw new Error('stage must be at most 10');
  if (policy.actions.length === 0) throw new Error('actions are missing');
  if (policy.actions.length > maxActions) throw new Error(`more than ${maxActions} actions`);
  const actions = policy.actions.map(compileAction);
  const override = compileOverride(policy);
  const hitsOf = compileHits(policy);
  // Policies of routes and virtual hosts have neither of the two (Envoy's note on the fields).
  const option = inFilter ? policy.xRatelimitOption : XRateLimitOption.UNSPECIFIED;
  const xRateLimit =
    option === XRateLimitOption.OFF ? false : option === XRateLimitOption.DRAFT_VERSION_03 ? true : undefined;
  // There is no runtime layer, so `disable_key` never switches a policy off.
  return {
    stage,
    onStreamDone: policy.applyOnStreamDone,
    describe(input) {
      const entries: DescriptorEntry[] = [];
      for (const action of actions) {
        const result = action(input);
        if (result === 'none') return undefined;
        if (result !== 'omit') entries.push(result);
      }
      if (entries.length === 0) return undefined;
      return { entries, limit: override(input.info), hits: inFilter ? hitsOf(input) : undefined, xRateLimit };
    },
  };
}

const none: readonly RateLimitPolicy[] = [];

/**
 * @param inFilter they stand in the configuration of a filter, not of a route
 * @throws Error that names the entry which is bad.
 */
export function compileRateLimits(
  policies: readonly RateLimit[],
  inFilter = false,
): readonly RateLimitPolicy[] {
  if (policies.length === 0) return none;
  if (policies.length > maxPolicies) throw new Error(`more than ${maxPolicies} rate_limits`);
  return policies.map((policy, i) => {
    try {
      return compilePolicy(policy, inFilter);
    } catch (cause) {
      throw new Error(`rate_limits[${i}]: ${(cause as Error).message}`, { cause });
    }
  });
}
