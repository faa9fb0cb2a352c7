/**
 * Values of header rules with `%COMMAND(argument):length%` (envoy substitution formatter). Access logs have the full
 * formatter, which the worker brings along (`setMoreCommands`); the commands below are there always. Unknown commands
 * fail when the configuration is read.
 */
import { formatAddress } from '../network/address.ts';
import { formatResponseFlags } from '../stream_info/response_flags.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { HeaderMap, RequestHeaderMap } from './header_map.ts';

/** What a value is made from; undefined parts have not come yet. */
export interface HeaderFormatContext {
  readonly info: StreamInfo;
  readonly request: RequestHeaderMap | undefined;
  readonly response: HeaderMap | undefined;
}

/** Gives the value, or undefined when what it names is absent. */
type Part = (context: HeaderFormatContext) => string | undefined;

export type HeaderFormatter = (context: HeaderFormatContext) => string;

const simple: Readonly<Record<string, Part>> = {
  PROTOCOL: ({ info }) => info.protocol,
  START_TIME: ({ info }) => new Date(info.startTimeMs).toISOString(),
  RESPONSE_CODE: ({ info }) => String(info.responseCode),
  RESPONSE_CODE_DETAILS: ({ info }) => info.responseCodeDetails || undefined,
  RESPONSE_FLAGS: ({ info }) => formatResponseFlags(info.responseFlags),
  ROUTE_NAME: ({ info }) => info.routeName || undefined,
  VIRTUAL_CLUSTER_NAME: () => undefined,
  UPSTREAM_CLUSTER: ({ info }) => info.clusterStatName || undefined,
  UPSTREAM_CLUSTER_RAW: ({ info }) => info.clusterName || undefined,
  UPSTREAM_HOST: ({ info }) => addressOf(info.upstream?.hostAddress),
  UPSTREAM_REMOTE_ADDRESS: ({ info }) => addressOf(info.upstream?.hostAddress),
  UPSTREAM_LOCAL_ADDRESS: ({ info }) => addressOf(info.upstream?.localAddress),
  DOWNSTREAM_REMOTE_ADDRESS: ({ info }) => addressOf(info.remoteAddress),
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: ({ info }) => info.remoteAddress.ip,
  DOWNSTREAM_REMOTE_PORT: ({ info }) => String(info.remoteAddress.port),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: ({ info }) => addressOf(info.connection.directRemoteAddress),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: ({ info }) => info.connection.directRemoteAddress.ip,
  DOWNSTREAM_LOCAL_ADDRESS: ({ info }) => addressOf(info.connection.localAddress),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ({ info }) => info.connection.localAddress.ip,
  DOWNSTREAM_LOCAL_PORT: ({ info }) => String(info.connection.localAddress.port),
  DOWNSTREAM_PEER_URI_SAN: ({ info }) => info.connection.tls?.peerUriSans.join(',') || undefined,
  DOWNSTREAM_PEER_SUBJECT: ({ info }) => info.connection.tls?.peerSubject || undefined,
  DOWNSTREAM_LOCAL_URI_SAN: ({ info }) => info.connection.tls?.localUriSans.join(',') || undefined,
  DOWNSTREAM_TLS_VERSION: ({ info }) => info.connection.tls?.version,
  DOWNSTREAM_TLS_CIPHER: ({ info }) => info.connection.tls?.cipher,
  REQUESTED_SERVER_NAME: ({ info }) => info.connection.requestedServerName || undefined,
  CONNECTION_ID: ({ info }) => String(info.connection.id),
  STREAM_ID: ({ info }) => info.requestId || undefined,
  TRACE_ID: ({ info }) => info.traceId || undefined,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: ({ info }) => String(info.attemptCount),
};

/** Compiles a command that this file does not have; undefined for an unknown one. Throws Error for a bad argument. */
export type MoreCommands = (name: string, argument: string | undefined) => Part | undefined;

let moreCommands: MoreCommands | undefined;

/** Commands of the full formatter, which stands above this folder. Set once, before any configuration is read. */
export function setMoreCommands(commands: MoreCommands): void {
  moreCommands = commands;
}

function addressOf(address: Parameters<typeof formatAddress>[0] | undefined): string | undefined {
  return address === undefined ? undefined : formatAddress(address);
}

/** `A?B` tries `B` when `A` is absent. */
function headerPart(argument: string, pick: (context: HeaderFormatContext) => HeaderMap | undefined): Part {
  const [main, alternative] = argument.toLowerCase().split('?');
  if (main === undefined || main === '') throw new Error('header command without a name');
  return (context) => {
    const headers = pick(context);
    return headers?.get(main) ?? (alternative === undefined ? undefined : headers?.get(alternative));
  };
}

/** `filter:key:key` into dynamic metadata or `filter_metadata` of the cluster. */
function metadataPart(
  argument: string,
  pick: (context: HeaderFormatContext, filter: string) => unknown,
): Part {
  const [filter, ...keys] = argument.split(':');
  return (context) => {
    let value = pick(context, filter ?? '');
    for (const key of keys) {
      if (typeof value !== 'object' || value === null) return undefined;
      value = (value as Record<string, unknown>)[key];
    }
    if (value === undefined || value === null) return undefined;
    return typeof value === 'string' ? value : JSON.stringify(value);
  };
}

function commandPart(name: string, argument: string): Part {
  switch (name) {
    case 'REQ':
      return headerPart(argument, (context) => context.request);
    case 'RESP':
      return headerPart(argument, (context) => context.response);
    case 'DYNAMIC_METADATA':
      return metadataPart(argument, ({ info }, filter) => info.dynamicMetadata?.get(filter));
    case 'CLUSTER_METADATA':
      return metadataPart(argument, ({ info }, filter) => info.clusterMetadata?.[filter]);
    case 'UPSTREAM_METADATA':
      return metadataPart(argument, ({ info }, filter) => info.upstream?.hostMetadata?.[filter]);
    case 'FILTER_STATE':
      return ({ info }) => {
        const value = info.filterState?.get(argument.split(':')[0] ?? '');
        return value === undefined ? undefined : typeof value === 'string' ? value : JSON.stringify(value);
      };
    default: {
      const own = simple[name];
      const part =
        own !== undefined && argument === ''
          ? own
          : (moreCommands?.(name, argument === '' ? undefined : argument) ?? own);
      if (part === undefined) throw new Error(`unknown command %${name}% in a header value`);
      return part;
    }
  }
}

/** A constant, or a function of the request. Throws Error for an unknown command. */
export function compileHeaderFormat(text: string): string | HeaderFormatter {
  if (!text.includes('%')) return text;
  const parts: (string | Part)[] = [];
  const pattern = /%%|%([A-Z_0-9]+)(?:\(((?:[^()]|\([^()]*\))*)\))?(?::(\d{1,6}))?%/g;
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    parts.push(text.slice(last, match.index));
    last = match.index + match[0].length;
    if (match[0] === '%%') parts.push('%');
    else {
      const part = commandPart(match[1] as string, match[2] ?? '');
      const length = match[3];
      parts.push(length === undefined ? part : (context) => part(context)?.slice(0, Number(length)));
    }
  }
  parts.push(text.slice(last));
  if (parts.some((part) => typeof part === 'string' && part !== '%' && part.includes('%')))
    throw new Error(`malformed header value '${text}'`);
  if (parts.every((part) => typeof part === 'string')) return parts.join('');
  return (context) => {
    let out = '';
    for (const part of parts) out += typeof part === 'string' ? part : (part(context) ?? '');
    return out;
  };
}
