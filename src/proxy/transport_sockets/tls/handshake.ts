/** One handshake in either direction: waits for it, verifies the peer, answers once. */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket as NodeTlsSocket } from 'node:tls';
import type { TlsStats, TransportSocketCallbacks } from '../../network/transport_socket.ts';
import type { ClientSession } from './client_sessions.ts';
import type { OwnIdentity, TlsMaterial } from './tls_context.ts';
import type { VerifyFailure } from './peer_validation.ts';
import { describeChainProblem, describeTlsError, peerCertificateMissing } from './tls_errors.ts';
import { ConnectionTlsInfo, certificateNames } from './tls_info.ts';
import { onNewSession, verifyProblem } from './tls_handle.ts';

/** What a direction asks of the peer. */
export interface PeerDemand {
  readonly requireCertificate: boolean;
  /** Servers: the client must name whom it wants. */
  readonly requireServerName: boolean;
  /** Names in place of the configured ones; undefined keeps those. */
  readonly names: readonly string[] | undefined;
}

/** With the server name of the client hello, which Node's types lack. */
type TLSSocket = NodeTlsSocket & { readonly servername?: string | false | null };

/** Not reused. */
export class Handshake {
  readonly #socket: TLSSocket;
  readonly #raw: Socket;
  readonly #material: TlsMaterial;
  readonly #demand: PeerDemand;
  readonly #stats: TlsStats | undefined;
  /** Key of the peer among the sessions of a client; empty where none are kept. */
  readonly #place: string;
  /** What a client offered to take up. */
  readonly #offered: ClientSession | undefined;
  #peer: X509Certificate | undefined = undefined;
  /** Sessions that came before the peer was judged (TLS 1.2). */
  #early: Buffer | undefined = undefined;
  readonly #callbacks: TransportSocketCallbacks;
  #done = false;
  #failed = false;
  #reason = '';

  constructor(
    socket: TLSSocket,
    raw: Socket,
    material: TlsMaterial,
    demand: PeerDemand,
    stats: TlsStats | undefined,
    place: string,
    offered: ClientSession | undefined,
    callbacks: TransportSocketCallbacks,
  ) {
    this.#socket = socket;
    this.#raw = raw;
    this.#material = material;
    this.#demand = demand;
    this.#stats = stats;
    this.#place = place;
    this.#offered = offered;
    this.#callbacks = callbacks;
    socket.on('error', this.#onError);
    // Not `once`, which wraps each listener: `#done` says that it was heard.
    socket.on('close', this.#onClose);
    socket.on('secure', this.#onSecure);
    // Half-open sockets do not close by themselves when the peer leaves in the middle.
    socket.on('end', this.#onClose);
    raw.on('close', this.#onClose);
    if (place !== '') onNewSession(socket, this.#onSession);
  }

  readonly #onSession = (session: Buffer): void => {
    if (!this.#done) this.#early = session;
    else if (!this.#failed) this.#keep(session);
  };

  #keep(ticket: Buffer): void {
    if (this.#peer !== undefined) this.#material.sessions.put(this.#place, { ticket, peer: this.#peer });
  }

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    if (this.#reason === '') this.#reason = describeTlsError(error);
  };

  readonly #onClose = (): void => this.#fail(this.#reason);

  readonly #onSecure = (): void => {
    if (this.#done) return;
    const socket = this.#socket;
    const stats = this.#stats;
    const { validation } = this.#material;
    const serverName = socket.servername;
    const reused = socket.isSessionReused();
    if (stats !== undefined) {
      stats.handshake++;
      if (reused) stats.sessionReused++;
    }
    const peer = socket.getPeerX509Certificate() ?? (reused ? this.#offered?.peer : undefined);
    if (peer === undefined) {
      if (this.#demand.requireCertificate) {
        if (stats !== undefined) stats.failVerifyNoCert++;
        this.#fail(peerCertificateMissing);
        return;
      }
      if (stats !== undefined) stats.noCertificate++;
    } else if (validation !== undefined) {
      let problem = validation.check(peer, verifyProblem(socket), this.#demand.names);
      // Nobody looks at the dates of a certificate that a session brings back.
      if (problem === undefined && reused && peer.validToDate.getTime() < Date.now()) problem = expired;
      if (problem !== undefined) {
        if (stats !== undefined) stats[problem.counter]++;
        this.#fail(problem.text);
        return;
      }
    }
    if (this.#demand.requireServerName && typeof serverName !== 'string') {
      this.#fail('TLS error: the client sent no server name');
      return;
    }
    this.#done = true;
    if (peer !== undefined && this.#place !== '') this.#peer = certificateNames(peer).certificate;
    if (this.#early !== undefined) this.#keep(this.#early);
    // TLS 1.2 gives no new ticket for one that was good.
    else if (reused && this.#offered !== undefined && socket.getProtocol() !== 'TLSv1.3')
      this.#material.sessions.put(this.#place, this.#offered);
    this.#early = undefined;
    this.#raw.off('close', this.#onClose);
    socket.off('secure', this.#onSecure);
    socket.off('close', this.#onClose);
    socket.off('end', this.#onClose);
    // The error listener stays: an error between here and the next owner must not end the process.
    const own = this.#identity(serverName);
    const info = new ConnectionTlsInfo(socket, peer, validation !== undefined, own.names, serverName, reused);
    this.#callbacks.onTransportReady(
      socket,
      info,
      socket.alpnProtocol === false ? '' : (socket.alpnProtocol ?? ''),
    );
  };

  #identity(serverName: string | false | null | undefined): OwnIdentity {
    const material = this.#material;
    if (!material.choosesByName) return material.identity;
    return material.identityFor(typeof serverName === 'string' ? serverName.toLowerCase() : '');
  }

  #fail(reason: string): void {
    if (this.#done) return;
    this.#done = true;
    this.#failed = true;
    this.#early = undefined;
    if (this.#stats !== undefined) this.#stats.connectionError++;
    this.#socket.destroy();
    this.#raw.destroy();
    this.#callbacks.onTransportFailure(reason);
  }
}

const expired: VerifyFailure = {
  counter: 'failVerifyError',
  text: describeChainProblem({ code: 'CERT_HAS_EXPIRED', text: 'certificate has expired' }),
};
