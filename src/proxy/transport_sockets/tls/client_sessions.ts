/**
 * Sessions that servers gave us, for the next connection to the same address and server name (UpstreamTlsContext.
 * max_session_keys). They belong to one version of our certificate and trust and are dropped with it.
 */
import type { X509Certificate } from 'node:crypto';

/** A session and the certificate that its server showed: Node does not tell it again when the session is taken up. */
export interface ClientSession {
  readonly ticket: Buffer;
  readonly peer: X509Certificate;
}

/** Hosts and names that are remembered; the one that was used longest ago leaves first. */
const maxPlaces = 1024;
/** Sessions that are kept for one of them when the configuration names no number: servers give two at a time. */
export const defaultSessionsPerPlace = 4;
/** A session with the peer's certificate takes one to three kilobytes; larger ones are not kept. */
const maxSessionBytes = 16 * 1024;

/** Sessions of one context. */
export class ClientSessions {
  readonly #perPlace: number;
  readonly #places = new Map<string, ClientSession[]>();

  /** @param perPlace 0 keeps none. */
  constructor(perPlace: number) {
    this.#perPlace = perPlace;
  }

  get enabled(): boolean {
    return this.#perPlace > 0;
  }

  /** The newest session of a place. It is taken out: a ticket is shown once, so that two connections cannot be linked (RFC 8446 C.4). */
  take(place: string): ClientSession | undefined {
    const sessions = this.#places.get(place);
    if (sessions === undefined) return undefined;
    const session = sessions.pop();
    if (sessions.length === 0) this.#places.delete(place);
    return session;
  }

  put(place: string, session: ClientSession): void {
    if (this.#perPlace === 0 || session.ticket.length > maxSessionBytes) return;
    let sessions = this.#places.get(place);
    if (sessions === undefined) sessions = [];
    else this.#places.delete(place);
    sessions.push(session);
    if (sessions.length > this.#perPlace) sessions.shift();
    this.#places.set(place, sessions);
    if (this.#places.size > maxPlaces) this.#places.delete(this.#places.keys().next().value ?? '');
  }
}
