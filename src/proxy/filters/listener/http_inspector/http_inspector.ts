/**
 * Finds out whether a plain text connection speaks HTTP, and which version (envoy.filters.listener.http_inspector). What it
 * finds stands as the connection's application protocol: `http/1.0`, `http/1.1` or `h2c`.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { HttpInspectorSchema } from '#api/gen/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ListenerFilterExtension } from '../../../factory_context.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import { type ListenerFilter, ListenerFilterStatus } from '../../../network/listener_filter.ts';

/** Most bytes looked at for one request line, as in Envoy. */
const maxInspectBytes = 8 * 1024;
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** Methods of the IANA registry that Envoy's parsers accept. */
const methods: ReadonlySet<string> = new Set(
  (
    'ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE MSEARCH NOTIFY ' +
    'OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK ' +
    'UNSUBSCRIBE M-SEARCH QUERY'
  ).split(' '),
);
const longestMethod = Math.max(...[...methods].map((method) => method.length));

/** What the first bytes are; `more` when they cannot tell yet. */
export type HttpVersion = 'more' | 'none' | 'http/1.0' | 'http/1.1' | 'h2c';

/** Looks at the bytes seen so far; never throws. */
export function detectHttp(data: Buffer): HttpVersion {
  const start = data.toString('latin1', 0, Math.min(data.length, preface.length));
  if (preface.startsWith(start)) return start.length === preface.length ? 'h2c' : 'more';
  // Empty lines before a request line are allowed (RFC 9112 2.2).
  let at = 0;
  while (data[at] === 13 || data[at] === 10) at++;
  const space = data.indexOf(32, at);
  const method = data.toString(
    'latin1',
    at,
    space < 0 ? Math.min(data.length, at + longestMethod + 1) : space,
  );
  if (space < 0) {
    const open = method.length <= longestMethod && [...methods].some((known) => known.startsWith(method));
    return open ? 'more' : 'none';
  }
  if (!methods.has(method)) return 'none';
  const end = data.indexOf(10, space);
  if (end < 0) return 'more';
  const line = data.toString('latin1', at, end).trimEnd();
  if (line.endsWith(' HTTP/1.1')) return 'http/1.1';
  return line.endsWith(' HTTP/1.0') ? 'http/1.0' : 'none';
}

const inspector: ListenerFilter = {
  maxReadBytes: maxInspectBytes,
  consumed: 0,
  onAccept(_socket, info: ConnectionInfo) {
    // TLS hides the request; its ALPN offer is known already.
    return info.transportProtocol === 'tls' ? ListenerFilterStatus.continue : ListenerFilterStatus.moreData;
  },
  onData(data: Buffer, ended: boolean, info: ConnectionInfo) {
    const version = detectHttp(data);
    if (version === 'more') return ended ? ListenerFilterStatus.continue : ListenerFilterStatus.moreData;
    if (version !== 'none') info.applicationProtocols = [version];
    return ListenerFilterStatus.continue;
  },
};

const factory = { createFilter: () => inspector };

export const httpInspector = {
  name: 'envoy.filters.listener.http_inspector',
  typeUrls: [typeUrlOf(HttpInspectorSchema)],
  create(config) {
    fromBinary(HttpInspectorSchema, config.value);
    return factory;
  },
} satisfies ListenerFilterExtension;
