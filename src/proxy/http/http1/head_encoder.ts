/** Writes heads, chunk framing and trailers as latin1 text. On the hot path: bench/micro/http1_proxy.ts. */
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import { reasonPhrase } from '../status.ts';

const statusLines: string[] = [];
for (let status = 100; status < 1000; status++)
  statusLines[status] = `HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n`;

/** `HTTP/1.1 200 OK\r\n`. */
export function statusLine(status: number): string {
  return statusLines[status] ?? `HTTP/1.1 ${status} \r\n`;
}

/** Changes the spelling of names on the wire (header_key_format); undefined writes them in lower case. */
export type NameFormat = ((name: string) => string) | undefined;

/** `content-type` to `Content-Type` (ProperCaseWords). */
export function properCaseWords(name: string): string {
  return name.replace(/(?:^|[^a-z0-9])[a-z]/g, (part) => part.toUpperCase());
}

/** Field lines without the empty line. */
export function encodeFields(headers: HeaderMap, format: NameFormat): string {
  const { names, values } = headers;
  let text = '';
  if (format === undefined)
    for (let i = 0; i < names.length; i++) text += names[i] + ': ' + values[i] + '\r\n';
  else for (let i = 0; i < names.length; i++) text += format(names[i] as string) + ': ' + values[i] + '\r\n';
  return text;
}

/** Start line and fields of a request, without the empty line. `host` comes first. */
export function encodeRequestHead(headers: RequestHeaderMap, format: NameFormat): string {
  const host = format === undefined ? ' HTTP/1.1\r\nhost: ' : ` HTTP/1.1\r\n${format('host')}: `;
  return (
    headers.method + ' ' + headers.path + host + headers.authority + '\r\n' + encodeFields(headers, format)
  );
}

/** Status line and fields of a response, without the empty line. */
export function encodeResponseHead(headers: ResponseHeaderMap, format: NameFormat): string {
  return statusLine(headers.status) + encodeFields(headers, format);
}
