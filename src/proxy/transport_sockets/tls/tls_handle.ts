/** The parts of Node's TLS sockets that have no public name. The one place that reaches for them. */
import type { TLSSocket } from 'node:tls';

interface TlsHandle {
  /** OpenSSL's verdict on the peer's chain; null when it is fine. */
  verifyError(): NodeJS.ErrnoException | null | undefined;
}

interface Hidden {
  readonly _handle: TlsHandle | null;
  _start(): void;
  setServername(name: string): void;
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
