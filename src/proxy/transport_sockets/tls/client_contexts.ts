/**
 * OpenSSL contexts of clients. Clusters of a mesh show the same certificate and trust the same roots: equal ones share one
 * context, which would else take 2 ms and 50 KB each. What differs (names, protocols, sessions) belongs to the connection.
 */
import { createHash } from 'node:crypto';
import { type SecureContext, type SecureContextOptions, createSecureContext } from 'node:tls';

/** By a digest of all that a context is made of. */
const contexts = new Map<string, WeakRef<SecureContext>>();

const unused = new FinalizationRegistry<string>((key) => {
  if (contexts.get(key)?.deref() === undefined) contexts.delete(key);
});

/** Everything that is compared: text as it is, bytes with their length. */
function digestOf(options: SecureContextOptions): string {
  const hash = createHash('sha256');
  const put = (value: unknown): void => {
    if (value instanceof Uint8Array) hash.update(`bytes ${value.length} `).update(value);
    else if (Array.isArray(value)) {
      hash.update(`list ${value.length} `);
      for (const item of value) put(item);
    } else if (typeof value === 'object' && value !== null) {
      const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
      hash.update(`object ${entries.length} `);
      for (const [name, item] of entries) {
        put(name);
        put(item);
      }
    } else {
      const text = String(value);
      hash.update(`${typeof value} ${text.length} ${text} `);
    }
  };
  put(options);
  return hash.digest('base64');
}

/**
 * The context of these options, made now when nobody holds one. It must not be changed.
 * @throws Error of OpenSSL
 */
export function clientContext(options: SecureContextOptions): SecureContext {
  const key = digestOf(options);
  const held = contexts.get(key)?.deref();
  if (held !== undefined) return held;
  const context = createSecureContext(options);
  contexts.set(key, new WeakRef(context));
  unused.register(context, key);
  return context;
}
