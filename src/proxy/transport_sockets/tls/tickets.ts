/**
 * Session tickets of listeners (RFC 5077, RFC 8446 4.6.1): a client that comes back shows its ticket and both sides are spared
 * certificates and signatures. All workers must read each other's tickets: their keys come from one seed per process.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

const seedName = 'trysail.tls.ticket_seed';

/**
 * The process's secret, 32 random bytes. Threads that are started after the first call on the main thread have the same one.
 */
export function ticketSeed(): Buffer {
  const known = getEnvironmentData(seedName);
  if (known instanceof Uint8Array) return Buffer.from(known);
  const seed = randomBytes(32);
  setEnvironmentData(seedName, new Uint8Array(seed));
  return seed;
}

/** A key as node:tls takes it: 16 bytes of name, 16 of HMAC-SHA256, 16 of AES-128. */
export interface TicketKey {
  readonly name: Buffer;
  readonly hmac: Buffer;
  readonly aes: Buffer;
}

/** Bytes of one configured key (TlsSessionTicketKeys.keys): name, HMAC key, AES-256 key. */
const configuredKeyBytes = 80;
/** Configured keys that are kept; Envoy's documentation speaks of a handful. */
const maxKeys = 16;

/**
 * Keys of `session_ticket_keys`, the one that encrypts first. OpenSSL by way of Node encrypts with AES-128: halves of the
 * configured keys are used, so tickets are good among our proxies, not between ours and Envoy's.
 * @throws Error when a key has another length than 80 bytes.
 */
export function readTicketKeys(keys: readonly (Buffer | undefined)[]): TicketKey[] {
  if (keys.length === 0 || keys.length > maxKeys)
    throw new Error(`session_ticket_keys: between 1 and ${maxKeys} keys, not ${keys.length}`);
  return keys.map((bytes) => {
    if (bytes?.length !== configuredKeyBytes)
      throw new Error(`session_ticket_keys: a key must be ${configuredKeyBytes} bytes long`);
    return { name: bytes.subarray(0, 16), hmac: bytes.subarray(16, 32), aes: bytes.subarray(48, 64) };
  });
}

/**
 * The key for a context without configured ones. It changes with whatever `identity` holds: a rotated certificate or another
 * trust ends all sessions made under the one before.
 */
export function derivedTicketKey(identity: Buffer): TicketKey {
  const bytes = createHmac('sha512', ticketSeed()).update(identity).digest();
  return { name: bytes.subarray(0, 16), hmac: bytes.subarray(16, 32), aes: bytes.subarray(32, 48) };
}

/** What sessions are bound to (SSL_CTX_set_session_id_context, 32 characters at most): the certificate and what peers must show. */
export function sessionIdentity(parts: readonly (Uint8Array | string)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(createHash('sha256').update(part).digest());
  return hash.digest();
}
