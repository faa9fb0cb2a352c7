/** The parts of Node's TLS sockets that have no public name. The one place that reaches for them. */
import { randomBytes } from 'node:crypto';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { TicketKey } from './tickets.ts';

interface TlsHandle {
  /** OpenSSL's verdict on the peer's chain; null when it is fine. */
  verifyError(): NodeJS.ErrnoException | null | undefined;
  enableSessionCallbacks?(): void;
  onnewsession?: (id: Buffer, session: Buffer) => void;
}

/** Answer of a ticket key callback: verdict, HMAC key, AES key, and for new tickets name and initialization vector. */
type TicketAnswer = [verdict: number, hmac?: Buffer, aes?: Buffer, name?: Buffer, iv?: Buffer];

interface HiddenContext {
  enableTicketKeyCallback?(): void;
  onticketkeycallback?: (name: Buffer, iv: Buffer, encrypt: boolean) => TicketAnswer;
}

interface Hidden {
  readonly _handle: TlsHandle | null;
  _start(): void;
  setServername(name: string): void;
  setSession(session: Buffer): void;
}

/**
 * What chain verification found: OpenSSL's code (`CERT_HAS_EXPIRED`) and text; undefined when the chain is fine. Only
 * meaningful when the peer sent a certificate.
 */
export function verifyProblem(
  socket: TLSSocket,
): { readonly code: string; readonly text: string } | undefined {
  const error = (socket as unknown as Hidden)['_handle']?.verifyError();
  if (error === null || error === undefined) return undefined;
  return { code: error.code ?? 'UNSPECIFIED', text: error.message };
}

/**
 * Sends the client hello. `tls.connect` would do it too, and parse the peer's whole chain into objects afterwards.
 * @param serverName SNI; empty for none.
 */
export function startClientHandshake(socket: TLSSocket, serverName: string): void {
  if (serverName !== '') (socket as unknown as Hidden).setServername(serverName);
  (socket as unknown as Hidden)['_start']();
}

/**
 * Hears of sessions that the server gives, for `setSession` of a later socket: in TLS 1.3 behind the handshake, in TLS 1.2
 * within it. Must be called before the handshake starts.
 */
export function onNewSession(socket: TLSSocket, callback: (session: Buffer) => void): void {
  const handle = (socket as unknown as Hidden)['_handle'];
  if (handle === null || typeof handle.enableSessionCallbacks !== 'function') return;
  handle.onnewsession = (_id, session) => callback(session);
  handle.enableSessionCallbacks();
}

/** Offers an earlier session; before the handshake starts. */
export function offerSession(socket: TLSSocket, session: Buffer): void {
  (socket as unknown as Hidden).setSession(session);
}

/** Ticket that was made with another key than the first: it is good, and a new one goes out with it. */
const renew = 2;

/** Lets a context read tickets of several keys; the first one makes new tickets. False where Node does not know how. */
export function setTicketKeys(context: SecureContext, keys: readonly TicketKey[]): boolean {
  const hidden = (context as unknown as { readonly context: HiddenContext }).context;
  const [first] = keys;
  if (first === undefined || typeof hidden.enableTicketKeyCallback !== 'function') return false;
  hidden.onticketkeycallback = (name, _iv, encrypt) => {
    if (encrypt) return [1, first.hmac, first.aes, first.name, randomBytes(16)];
    const index = keys.findIndex((key) => key.name.equals(name));
    const key = keys[index];
    return key === undefined ? [0] : [index === 0 ? 1 : renew, key.hmac, key.aes];
  };
  hidden.enableTicketKeyCallback();
  return true;
}
