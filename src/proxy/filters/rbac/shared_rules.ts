/** Rules that permissions and principals have in common: headers, paths, metadata, filter state. */
import { MetadataSource, type SourcedMetadata } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import type { HeaderMatcher } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { FilterStateMatcher } from '#api/gen/envoy/type/matcher/v3/filter_state_pb.ts';
import type { MetadataMatcher } from '#api/gen/envoy/type/matcher/v3/metadata_pb.ts';
import type { PathMatcher } from '#api/gen/envoy/type/matcher/v3/path_pb.ts';
import { compileHeaderMatcher } from '../../http/header_matcher.ts';
import { compileStringMatcher } from '../../http/string_matcher.ts';
import { cidrContains, createCidr, parseIp } from '../../network/ip.ts';
import type { RbacMatcher, RbacSubject } from './subject.ts';
import { compileMetadataMatcher } from './value_matcher.ts';

export function compileHeaderRule(matcher: HeaderMatcher): RbacMatcher {
  const matches = compileHeaderMatcher(matcher);
  return ({ headers }) => matches(headers);
}

/** Path without query and fragment. */
export function barePath(path: string): string {
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    if (c === 63 || c === 35) return path.slice(0, i);
  }
  return path;
}

export function compilePathRule({ rule }: PathMatcher): RbacMatcher {
  if (rule.case === undefined) throw new Error('path matcher without rule');
  const matches = compileStringMatcher(rule.value);
  return ({ path }) => path !== undefined && matches(barePath(path));
}

/** Requests first, then what network filters left on the connection. */
function dynamicMetadata({ streamInfo, connection }: RbacSubject, filter: string): unknown {
  return streamInfo?.dynamicMetadata?.get(filter) ?? connection.dynamicMetadata?.get(filter);
}

function routeMetadata({ callbacks }: RbacSubject, filter: string): unknown {
  return callbacks?.route()?.metadata?.[filter];
}

export function compileMetadataRule(matcher: MetadataMatcher): RbacMatcher {
  return compileMetadataMatcher(matcher, dynamicMetadata);
}

export function compileSourcedMetadataRule({
  metadataMatcher,
  metadataSource,
}: SourcedMetadata): RbacMatcher {
  if (metadataMatcher === undefined) throw new Error('sourced_metadata without metadata_matcher');
  const source = metadataSource === MetadataSource.ROUTE ? routeMetadata : dynamicMetadata;
  return compileMetadataMatcher(metadataMatcher, source);
}

/** Text of a filter state object: strings are themselves. */
function stateOf({ streamInfo }: RbacSubject, key: string): string | undefined {
  const value = streamInfo?.filterState?.get(key);
  if (value === undefined || value === null) return undefined;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

export function compileFilterStateRule({ key, matcher }: FilterStateMatcher): RbacMatcher {
  if (matcher.case === 'stringMatch') {
    const matches = compileStringMatcher(matcher.value);
    return (subject) => {
      const value = stateOf(subject, key);
      return value !== undefined && matches(value);
    };
  }
  if (matcher.case === 'addressMatch') {
    const { invertMatch } = matcher.value;
    const blocks = matcher.value.ranges.map((range) => createCidr(range.addressPrefix, range.prefixLen ?? 0));
    return (subject) => {
      const ip = parseIp(stateOf(subject, key) ?? '');
      return ip !== undefined && blocks.some((block) => cidrContains(block, ip)) !== invertMatch;
    };
  }
  throw new Error('filter_state matcher without pattern');
}
