/** Metadata of requests, clusters and hosts, and filter state. */
import type { Evaluator, OperatorTable, OperatorValue } from '#telemetry/access_log/format.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { LogEntry } from './log_entry.ts';

type Find = (info: StreamInfo, filter: string) => unknown;

function toValue(value: unknown): OperatorValue {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'bigint') return value.toString();
  return value as OperatorValue;
}

/** `filter:key:key`. */
function metadata(argument: string | undefined, find: Find): Evaluator<LogEntry> {
  const [filter = '', ...keys] = (argument ?? '').split(':');
  if (filter === '') throw new Error('expected the name of a filter, then keys, with colons between them');
  return ({ info }) => {
    let value = find(info, filter);
    for (const key of keys) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
      value = (value as Record<string, unknown>)[key];
    }
    return toValue(value);
  };
}

const sources: Readonly<Record<string, Find>> = {
  DYNAMIC: (info, filter) =>
    info.dynamicMetadata?.get(filter) ?? info.connection.dynamicMetadata?.get(filter),
  CLUSTER: (info, filter) => info.clusterMetadata?.[filter],
  UPSTREAM_HOST: (info, filter) => info.upstream?.hostMetadata?.[filter],
};

function filterState(argument: string | undefined): Evaluator<LogEntry> {
  const [key = '', form = 'TYPED', field] = (argument ?? '').split(':');
  if (key === '') throw new Error('expected the name of a filter state object');
  if (!['PLAIN', 'TYPED', 'FIELD'].includes(form)) throw new Error('expected PLAIN, TYPED or FIELD');
  if (form === 'FIELD' && (field === undefined || field === '')) throw new Error('expected FIELD:name');
  return ({ info }) => {
    const value = info.filterState?.get(key);
    if (form !== 'FIELD') return form === 'PLAIN' ? plain(value) : toValue(value);
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field as string))
      return undefined;
    return toValue((value as Record<string, unknown>)[field as string]);
  };
}

function plain(value: unknown): OperatorValue {
  if (typeof value === 'object' && value !== null) return JSON.stringify(value);
  return toValue(value);
}

const find = (name: keyof typeof sources): Find => sources[name] as Find;

export const dataOperators: OperatorTable<LogEntry> = {
  DYNAMIC_METADATA: (argument) => metadata(argument, find('DYNAMIC')),
  CLUSTER_METADATA: (argument) => metadata(argument, find('CLUSTER')),
  UPSTREAM_METADATA: (argument) => metadata(argument, find('UPSTREAM_HOST')),
  METADATA: (argument) => {
    const [type = '', ...rest] = (argument ?? '').split(':');
    const source = Object.hasOwn(sources, type) ? sources[type] : undefined;
    if (source === undefined) throw new Error(`expected ${Object.keys(sources).join(', ')} before the colon`);
    return metadata(rest.join(':'), source);
  },
  FILTER_STATE: filterState,
};
