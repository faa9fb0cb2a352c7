/** ALPN names in their wire form (RFC 7301), encoded once per list. */

const maxCached = 256;
const cache = new Map<string, Buffer>();

/** Length-prefixed names, as node:tls takes them without encoding again. Names longer than 255 bytes are left out. */
export function alpnWire(protocols: readonly string[]): Buffer {
  const key = protocols.join('\0');
  let wire = cache.get(key);
  if (wire === undefined) {
    wire = Buffer.concat(
      protocols
        .map((name) => Buffer.from(name))
        .filter((name) => name.length > 0 && name.length < 256)
        .flatMap((name) => [Buffer.of(name.length), name]),
    );
    if (cache.size >= maxCached) cache.clear();
    cache.set(key, wire);
  }
  return wire;
}
