/** Reads a TLS client hello from the first bytes of a connection (RFC 8446 4.1.2, RFC 6066 3, RFC 7301). */

/** Most bytes looked at, as Envoy's TLS inspector: a hello that is longer counts as no TLS. */
export const maxClientHelloBytes = 16 * 1024;

/** Names in an ALPN offer; more are not read. */
const maxProtocols = 64;

/** What the first bytes are. */
export type ClientHello =
  | { readonly kind: 'more' }
  | { readonly kind: 'not_tls' }
  | {
      readonly kind: 'tls';
      /** SNI in lower case; empty when there is none. */
      readonly serverName: string;
      readonly applicationProtocols: readonly string[];
    };

const more: ClientHello = { kind: 'more' };
const notTls: ClientHello = { kind: 'not_tls' };

const handshakeRecord = 22;
const clientHelloMessage = 1;
const serverNameExtension = 0;
const alpnExtension = 16;

/** The handshake message inside one or more records, as far as it has come; undefined when the bytes are no TLS. */
function readHandshake(data: Buffer): { readonly body: Buffer; readonly complete: boolean } | undefined {
  const parts: Buffer[] = [];
  let have = 0;
  let wanted = -1;
  let at = 0;
  for (;;) {
    // A message may be cut into several records; each has a header of five bytes.
    if (data.length > at && data[at] !== handshakeRecord) return undefined;
    if (data.length > at + 1 && data[at + 1] !== 3) return undefined;
    if (data.length < at + 5) return { body: Buffer.concat(parts), complete: false };
    const length = data.readUInt16BE(at + 3);
    if (length === 0 || length > maxClientHelloBytes + 2048) return undefined;
    const fragment = data.subarray(at + 5, at + 5 + length);
    parts.push(fragment);
    have += fragment.length;
    if (wanted < 0) {
      const head = parts.length === 1 ? fragment : Buffer.concat(parts);
      if (head.length > 0 && head[0] !== clientHelloMessage) return undefined;
      if (head.length >= 4) {
        wanted = 4 + head.readUIntBE(1, 3);
        if (wanted > maxClientHelloBytes) return undefined;
      }
    }
    if (wanted >= 0 && have >= wanted)
      return { body: Buffer.concat(parts).subarray(0, wanted), complete: true };
    if (fragment.length < length) return { body: Buffer.concat(parts), complete: false };
    at += 5 + length;
  }
}

/** A place in a buffer that never reads past its end: `bad` tells that it would have. */
class Cursor {
  readonly #data: Buffer;
  #at: number;
  readonly end: number;
  bad = false;

  constructor(data: Buffer, at: number, end: number) {
    this.#data = data;
    this.#at = at;
    this.end = end;
  }

  get left(): number {
    return this.bad ? 0 : this.end - this.#at;
  }

  number(bytes: 1 | 2): number {
    if (this.left < bytes) {
      this.bad = true;
      return 0;
    }
    const value = bytes === 1 ? (this.#data[this.#at] as number) : this.#data.readUInt16BE(this.#at);
    this.#at += bytes;
    return value;
  }

  skip(bytes: number): void {
    if (this.left < bytes) this.bad = true;
    else this.#at += bytes;
  }

  /** A vector with a length of one or two bytes in front. */
  vector(lengthBytes: 1 | 2): Cursor {
    const length = this.number(lengthBytes);
    const inner = new Cursor(this.#data, this.#at, this.#at + length);
    this.skip(length);
    inner.bad = this.bad;
    return inner;
  }

  text(): string {
    return this.bad ? '' : this.#data.toString('latin1', this.#at, this.end);
  }
}

function readServerName(extension: Cursor): string {
  const list = extension.vector(2);
  while (list.left > 0) {
    const type = list.number(1);
    const name = list.vector(2);
    if (type === 0 && !name.bad) return name.text().toLowerCase();
  }
  return '';
}

function readProtocols(extension: Cursor): string[] {
  const list = extension.vector(2);
  const protocols: string[] = [];
  while (list.left > 0 && protocols.length < maxProtocols) {
    const name = list.vector(1);
    if (!name.bad) protocols.push(name.text());
  }
  return protocols;
}

/**
 * Looks at the bytes seen so far; never throws.
 * @param data all bytes from the start of the connection.
 */
export function parseClientHello(data: Buffer): ClientHello {
  const handshake = readHandshake(data);
  if (handshake === undefined) return notTls;
  if (!handshake.complete) return data.length >= maxClientHelloBytes ? notTls : more;
  const { body } = handshake;
  const cursor = new Cursor(body, 4, body.length);
  // legacy_version and random.
  cursor.skip(2 + 32);
  cursor.vector(1);
  cursor.vector(2);
  cursor.vector(1);
  let serverName = '';
  let applicationProtocols: string[] = [];
  if (cursor.left > 0) {
    const extensions = cursor.vector(2);
    while (extensions.left > 0) {
      const type = extensions.number(2);
      const extension = extensions.vector(2);
      if (type === serverNameExtension) serverName = readServerName(extension);
      else if (type === alpnExtension) applicationProtocols = readProtocols(extension);
    }
    if (extensions.bad) return notTls;
  }
  return cursor.bad ? notTls : { kind: 'tls', serverName, applicationProtocols };
}
