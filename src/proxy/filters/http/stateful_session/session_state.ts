/** Where a client keeps the address of its host: a cookie or a header (envoy.http.stateful_session.*). */
import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { TypedExtensionConfig } from '#api/gen/envoy/config/core/v3/extension_pb.ts';
import {
  type CookieBasedSessionState,
  CookieBasedSessionStateSchema,
} from '#api/gen/envoy/extensions/http/stateful_session/cookie/v3/cookie_pb.ts';
import {
  type HeaderBasedSessionState,
  HeaderBasedSessionStateSchema,
} from '#api/gen/envoy/extensions/http/stateful_session/header/v3/header_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { cookieSuffix } from '../../../http/set_cookie.ts';
import { durationMs } from '../../../network/duration.ts';
import { cookieValue } from '../../../router/route_match.ts';

/** Reads the address from requests and writes it to responses. Addresses are text: `10.0.0.1:80`. */
export interface SessionState {
  /** False for requests that have no session at all. */
  appliesTo(headers: RequestHeaderMap): boolean;
  /** Undefined when the request names none, or one that is malformed or too old. */
  addressOf(headers: RequestHeaderMap): string | undefined;
  write(address: string, headers: ResponseHeaderMap): void;
}

/** Longest value that is looked at: addresses have about a hundred bytes at most. */
const maxValueLength = 1024;

/** Base64 with its padding; undefined for all that is not exactly that. */
function decode(text: string): Buffer | undefined {
  if (text.length > maxValueLength) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : undefined;
}

/** Fields of the message inside of the cookie: `string address = 1; int64 expires = 2` (seconds since the epoch). */
const addressField = 1;
const expiresField = 2;

/** The value of a cookie, before base64. @param expires seconds since the epoch, 0 for none */
export function encodeCookie(address: string, expires: number): Uint8Array {
  const writer = new BinaryWriter().tag(addressField, WireType.LengthDelimited).string(address);
  if (expires !== 0) writer.tag(expiresField, WireType.Varint).int64(expires);
  return writer.finish();
}

/** The address in a cookie's value; bytes that are no message are the address itself. */
export function decodeCookie(bytes: Buffer, nowSeconds: number): string | undefined {
  let address = '';
  let expires = 0;
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === addressField && type === WireType.LengthDelimited) address = reader.string();
      else if (field === expiresField && type === WireType.Varint) expires = Number(reader.int64());
      else reader.skip(type, field);
    }
  } catch {
    return bytes.toString('latin1');
  }
  if (expires !== 0 && nowSeconds > expires) return undefined;
  return address === '' ? undefined : address;
}

/** True for `/shop`, `/shop/x` and `/shop?x` when the path of the cookie is `/shop`. */
function compilePath(path: string): (requestPath: string) => boolean {
  if (path === '' || path === '/') return () => true;
  if (path.endsWith('/')) return (requestPath) => requestPath.startsWith(path);
  return (requestPath) => {
    if (!requestPath.startsWith(path)) return false;
    const next = requestPath[path.length];
    return next === undefined || next === '/' || next === '?' || next === '#';
  };
}

/** @throws Error without a name. */
export function cookieState(proto: CookieBasedSessionState, nowMs: () => number = Date.now): SessionState {
  const { cookie } = proto;
  if (cookie === undefined || cookie.name === '') throw new Error('session_state: cookie.name is missing');
  const { name, path } = cookie;
  const ttlMs = durationMs(cookie.ttl) ?? 0;
  const ttlSeconds = Math.floor(ttlMs / 1000);
  const suffix = cookieSuffix(ttlMs, path, cookie.attributes);
  const matches = compilePath(path);
  const now = (): number => Math.floor(nowMs() / 1000);
  return {
    appliesTo: (headers) => matches(headers.path),
    addressOf(headers) {
      const value = cookieValue(headers, name);
      const bytes = value === undefined ? undefined : decode(value);
      return bytes === undefined ? undefined : decodeCookie(bytes, now());
    },
    write(address, headers) {
      const message = encodeCookie(address, ttlSeconds > 0 ? now() + ttlSeconds : 0);
      headers.add('set-cookie', `${name}="${Buffer.from(message).toString('base64')}"${suffix}`);
    },
  };
}

/** @throws Error without a name. */
export function headerState(proto: HeaderBasedSessionState): SessionState {
  if (proto.name === '') throw new Error('session_state: name is missing');
  const name = proto.name.toLowerCase();
  return {
    appliesTo: () => true,
    addressOf: (headers) => decode(headers.getFirst(name) ?? '')?.toString('latin1'),
    write: (address, headers) => headers.set(name, Buffer.from(address).toString('base64')),
  };
}

/** What `session_state` asks for; undefined without one. @throws Error for other kinds, and for a bad configuration. */
export function readSessionState(config: TypedExtensionConfig | undefined): SessionState | undefined {
  if (config === undefined) return undefined;
  const { typeUrl = '', value = new Uint8Array() } = config.typedConfig ?? {};
  switch (typeUrl) {
    case typeUrlOf(CookieBasedSessionStateSchema):
      return cookieState(fromBinary(CookieBasedSessionStateSchema, value));
    case typeUrlOf(HeaderBasedSessionStateSchema):
      return headerState(fromBinary(HeaderBasedSessionStateSchema, value));
    default:
      throw new Error(`session_state: ${config.name} (${typeUrl}) is not compiled in`);
  }
}
