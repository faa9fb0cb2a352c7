/** `%REQ(name?other)%` and its kin: headers, the path and its query. */
import type { Evaluator, OperatorTable } from '#telemetry/access_log/format.ts';
import type { HeaderMap } from '../http/header_map.ts';
import type { LogEntry } from './log_entry.ts';

type Pick = (entry: LogEntry) => HeaderMap | undefined;

function valueOf(headers: HeaderMap, name: string): string | undefined {
  return name.charCodeAt(0) === 58 /* : */ ? headers.get(name) : headers.getFirst(name);
}

/** `X?Y`: the first value of X, else of Y. */
function header(argument: string | undefined, pick: Pick): Evaluator<LogEntry> {
  const [main = '', other, ...rest] = (argument ?? '').toLowerCase().split('?');
  if (main === '' || other === '' || rest.length > 0)
    throw new Error('expected a header name, or two with a question mark between them');
  if (other === undefined)
    return (entry) => {
      const headers = pick(entry);
      return headers === undefined ? undefined : valueOf(headers, main);
    };
  return (entry) => {
    const headers = pick(entry);
    return headers === undefined ? undefined : (valueOf(headers, main) ?? valueOf(headers, other));
  };
}

/** Bytes of names and values, as Envoy's HeaderMap::byteSize. */
function byteSize(headers: HeaderMap, pseudo: readonly string[]): number {
  let size = 0;
  for (let i = 0; i < headers.names.length; i++)
    size += (headers.names[i] as string).length + (headers.values[i] as string).length;
  for (const name of pseudo) {
    const value = headers.get(name);
    if (value !== undefined && value !== '') size += name.length + value.length;
  }
  return size;
}

const requestPseudo = [':method', ':path', ':scheme', ':authority', ':protocol'] as const;

function withoutQuery(path: string): string {
  const query = path.indexOf('?');
  return query < 0 ? path : path.slice(0, query);
}

function queryOf(path: string): string | undefined {
  const query = path.indexOf('?');
  if (query < 0) return undefined;
  const fragment = path.indexOf('#', query);
  return fragment < 0 ? path.slice(query + 1) : path.slice(query + 1, fragment);
}

/** `%PATH(WQ|NQ:PATH|ORIG|ORIG_OR_PATH)%`. */
function path(argument: string | undefined): Evaluator<LogEntry> {
  const [query = 'WQ', source = 'ORIG_OR_PATH'] =
    (argument ?? '') === '' ? [] : (argument as string).split(':');
  if (query !== 'WQ' && query !== 'NQ') throw new Error('expected WQ (with query) or NQ (no query)');
  if (!['PATH', 'ORIG', 'ORIG_OR_PATH'].includes(source))
    throw new Error('expected PATH, ORIG or ORIG_OR_PATH behind the colon');
  return ({ request }) => {
    if (request === undefined) return undefined;
    const original = source === 'PATH' ? undefined : request.getFirst('x-envoy-original-path');
    const text = original ?? (source === 'ORIG' ? undefined : request.path);
    return text === undefined || query === 'WQ' ? text : withoutQuery(text);
  };
}

function queryParameter(argument: string | undefined): Evaluator<LogEntry> {
  if (argument === undefined || argument === '') throw new Error('expected the name of a query parameter');
  return ({ request }) => {
    const query = request === undefined ? undefined : queryOf(request.path);
    for (const pair of query?.split('&') ?? []) {
      const equals = pair.indexOf('=');
      if ((equals < 0 ? pair : pair.slice(0, equals)) === argument)
        return equals < 0 ? '' : pair.slice(equals + 1);
    }
    return undefined;
  };
}

const request: Pick = (entry) => entry.request;
const response: Pick = (entry) => entry.response;
const trailers: Pick = (entry) => entry.trailers;

export const headerOperators: OperatorTable<LogEntry> = {
  REQ: (argument) => header(argument, request),
  RESP: (argument) => header(argument, response),
  TRAILER: (argument) => header(argument, trailers),
  REQ_WITHOUT_QUERY: (argument) => {
    const read = header(argument, request);
    return (entry) => {
      const value = read(entry);
      return typeof value === 'string' ? withoutQuery(value) : value;
    };
  },
  REQUEST_HEADERS_BYTES: () => (entry) =>
    entry.request === undefined ? 0 : byteSize(entry.request, requestPseudo),
  RESPONSE_HEADERS_BYTES: () => (entry) =>
    entry.response === undefined ? 0 : byteSize(entry.response, [':status']),
  RESPONSE_TRAILERS_BYTES: () => (entry) => (entry.trailers === undefined ? 0 : byteSize(entry.trailers, [])),
  PATH: path,
  QUERY_PARAM: queryParameter,
  QUERY_PARAMS: () => (entry) => (entry.request === undefined ? undefined : queryOf(entry.request.path)),
};
