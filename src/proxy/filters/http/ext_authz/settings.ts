/** `ExtAuthz` and `ExtAuthzPerRoute`, checked and compiled. */
import type {
  BufferSettings,
  ExtAuthz,
  ExtAuthzPerRoute,
} from '#api/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts';
import type { ListStringMatcher } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import { compileStringMatcher } from '../../../http/string_matcher.ts';
import type { RuntimeValues } from '../../../network/runtime.ts';
import { compileShare, type Share } from '../../../network/runtime_fraction.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { compileMetadataMatcher } from '../../rbac/value_matcher.ts';
import { refuseFields } from '../../../network/refused_fields.ts';

/** True for names of headers that a list takes. */
export type NamePredicate = (name: string) => boolean;

/** Undefined for an absent or empty list. */
export function compileNames(list: ListStringMatcher | undefined): NamePredicate | undefined {
  if (list === undefined || list.patterns.length === 0) return undefined;
  const tests = list.patterns.map(compileStringMatcher);
  return (name) => {
    for (const test of tests) if (test(name)) return true;
    return false;
  };
}

/** `with_request_body`. */
export interface BodySettings {
  readonly maxBytes: number;
  readonly allowPartial: boolean;
  readonly asBytes: boolean;
}

/** Largest body that may be asked for: what a stream may hold back at most. */
const mostBodyBytes = 1024 * 1024;

function readBody(settings: BufferSettings | undefined): BodySettings | undefined {
  if (settings === undefined) return undefined;
  const { maxRequestBytes, allowPartialMessage, packAsBytes } = settings;
  if (maxRequestBytes === 0) throw new Error('with_request_body.max_request_bytes must be above 0');
  const maxBytes = Math.min(maxRequestBytes, mostBodyBytes);
  return { maxBytes, allowPartial: allowPartialMessage, asBytes: packAsBytes };
}

export interface ExtAuthzSettings {
  readonly failureModeAllow: boolean;
  readonly failureModeAllowHeader: boolean;
  readonly body: BodySettings | undefined;
  readonly clearRouteCache: boolean;
  readonly statusOnError: number;
  readonly enabled: Share;
  readonly enabledBy: ((info: StreamInfo) => boolean) | undefined;
  readonly denyAtDisable: boolean;
  readonly ingestMetadata: boolean;
  /** Bytes of a refusal's body that go to the client; 0 for all. */
  readonly maxDeniedBodyBytes: number;
}

/** Fields whose meaning we do not run: refused when they are set. */
function refuseUnknown(proto: ExtAuthz): void {
  const refused: readonly [string, boolean][] = [
    ['typed_metadata_context_namespaces', proto.typedMetadataContextNamespaces.length > 0],
    ['route_typed_metadata_context_namespaces', proto.routeTypedMetadataContextNamespaces.length > 0],
    ['decoder_header_mutation_rules', proto.decoderHeaderMutationRules !== undefined],
    ['shadow_mode', proto.shadowMode],
    ['clear_route_cache_headers', proto.clearRouteCacheHeaders.length > 0],
    ['bootstrap_metadata_labels_key', proto.bootstrapMetadataLabelsKey !== ''],
    ['emit_filter_state_stats', proto.emitFilterStateStats],
    ['filter_metadata', proto.filterMetadata !== undefined],
  ];
  for (const [name, set] of refused) if (set) throw new Error(`${name} is not implemented`);
}

/** @throws Error that names the field which cannot be run. */
export function compileSettings(proto: ExtAuthz, runtime?: RuntimeValues): ExtAuthzSettings {
  refuseUnknown(proto);
  refuseFields(proto);
  const matcher = proto.filterEnabledMetadata;
  const status = proto.statusOnError?.code ?? 0;
  return {
    failureModeAllow: proto.failureModeAllow,
    failureModeAllowHeader: proto.failureModeAllowHeaderAdd,
    body: readBody(proto.withRequestBody),
    clearRouteCache: proto.clearRouteCache,
    statusOnError: status === 0 ? 403 : status,
    enabled: compileShare(proto.filterEnabled, 1, runtime),
    enabledBy:
      matcher === undefined
        ? undefined
        : compileMetadataMatcher<StreamInfo>(matcher, (info, filter) => info.dynamicMetadata?.get(filter)),
    denyAtDisable: proto.denyAtDisable?.defaultValue ?? false,
    ingestMetadata: proto.enableDynamicMetadataIngestion ?? true,
    maxDeniedBodyBytes: proto.maxDeniedResponseBodyBytes,
  };
}

/** `ExtAuthzPerRoute`. */
export interface RouteSettings {
  readonly disabled: boolean;
  readonly contextExtensions: Readonly<Record<string, string>>;
  /** Undefined leaves the filter's; `off` sends no body. */
  readonly body: BodySettings | 'off' | undefined;
}

/** @throws Error that names the field which cannot be run. */
export function compileRouteSettings({ override }: ExtAuthzPerRoute): RouteSettings {
  if (override.case === 'disabled') {
    if (!override.value) throw new Error('disabled must be true when it is set');
    return { disabled: true, contextExtensions: {}, body: undefined };
  }
  if (override.case === undefined) throw new Error('override is missing');
  const { contextExtensions, disableRequestBodyBuffering, withRequestBody, serviceOverride } = override.value;
  if (serviceOverride.case !== undefined)
    throw new Error('check_settings.service_override is not implemented');
  if (disableRequestBodyBuffering && withRequestBody !== undefined)
    throw new Error('disable_request_body_buffering and with_request_body exclude each other');
  const body = disableRequestBodyBuffering ? ('off' as const) : readBody(withRequestBody);
  return { disabled: false, contextExtensions, body };
}
