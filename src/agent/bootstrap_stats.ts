/** Which stats the proxy keeps and how their names split into labels (`Bootstrap.stats_config`). */
import { create } from '@bufbuild/protobuf';
import { StatsConfigSchema, type StatsConfig } from '#api/gen/envoy/config/metrics/v3/stats_pb.ts';
import { StringMatcherSchema, type StringMatcher } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import type { StatsInclusion } from './options.ts';

/** Always kept: the mesh's own metrics and what tells that the proxy works. */
const defaultPrefixes = [
  'istio',
  'reporter=',
  'component',
  'cluster_manager',
  'listener_manager',
  'server',
  'cluster.xds-grpc',
];

const defaultSuffixes = [
  'rbac.allowed',
  'rbac.denied',
  'shadow_allowed',
  'shadow_denied',
  'downstream_cx_active',
];

/** Characters of the name of a listener in stats: `0.0.0.0_15006`, `[__]_15090`. */
const listenerName = String.raw`[_.\d\[\]a-fA-F]+`;

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}

/** DNS suffix of services, `svc.cluster.local`, from the domain of a node. */
function serviceSuffix(domain: string): string {
  const at = domain.indexOf('svc.');
  return at === -1 ? 'svc.cluster.local' : domain.slice(at);
}

/** Labels: the first group is cut out of the name, the second is the value. */
function tags(domain: string): Record<string, string> {
  return {
    cluster_name: String.raw`^cluster\.((.+?(?:\..+?\.${escape(serviceSuffix(domain))})?)\.)`,
    tcp_prefix: String.raw`^tcp\.((.*?)\.)\w+?$`,
    response_code_class: String.raw`_rq(_(\dxx))$`,
    response_code: String.raw`_rq(_(\d{3}))$`,
    http_conn_manager_prefix: String.raw`^http\.((${listenerName})\.)`,
    listener_address: String.raw`^listener\.((${listenerName})\.)`,
  };
}

/** Stats configuration of a node whose domain is `default.svc.cluster.local` or alike. */
export function buildStatsConfig(domain: string, inclusion: StatsInclusion): StatsConfig {
  const prefixes = [...defaultPrefixes, ...(inclusion.prefixes ?? [])];
  const suffixes = [...defaultSuffixes, ...(inclusion.suffixes ?? [])];
  const patterns: StringMatcher[] = [
    ...prefixes.map((value) => create(StringMatcherSchema, { matchPattern: { case: 'prefix', value } })),
    ...suffixes.map((value) => create(StringMatcherSchema, { matchPattern: { case: 'suffix', value } })),
    ...(inclusion.regexps ?? []).map((regex) =>
      create(StringMatcherSchema, { matchPattern: { case: 'safeRegex', value: { regex } } }),
    ),
  ];
  return create(StatsConfigSchema, {
    useAllDefaultTags: false,
    statsTags: Object.entries(tags(domain)).map(([tagName, regex]) => ({
      tagName,
      tagValue: { case: 'regex' as const, value: regex },
    })),
    statsMatcher: { statsMatcher: { case: 'inclusionList', value: { patterns } } },
  });
}
