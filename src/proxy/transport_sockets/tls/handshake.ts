/** One handshake in either direction: waits for it, verifies the peer, answers once. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { TransportSocketCallbacks } from '../../network/transport_socket.ts';
import type { TlsMaterial } from './tls_context.ts';
import { describeTlsError, peerCertificateMissing } from './tls_errors.ts';
import { ConnectionTlsInfo } from './tls_info.ts';
import { verifyProblem } from './tls_handle.ts';

/** What a direction asks of the peer. */
export interface PeerDemand {
  readonly requireCertificate: boolean;
  /** Names in place of the configured ones; undefined keeps those. */
  readonly names: readonly string[] | undefined;
}

/** Not reused. */
export class Handshake {
  readonly #socket: TLSSocket;
  readonly #raw: Socket;
  readonly #material: TlsMaterial;
  readonly #demand: PeerDemand;
  readonly #callbacks: TransportSocketCallbacks;
  #done = false;
  #reason = '';

  constructor(
    socket: TLSSocket,
    raw: Socket,
    material: TlsMaterial,
    demand: PeerDemand,
    callbacks: TransportSocketCallbacks,
  ) {
    this.#socket = socket;
    this.#raw = raw;
    this.#material = material;
    this.#demand = demand;
    this.#callbacks = callbacks;
    socket.on('error', this.#onError);
    socket.once('close', this.#onClose);
    socket.once('secure', this.#onSecure);
    // Half-open sockets do not close by themselves when the peer leaves in the middle.
    socket.once('end', this.#onClose);
    raw.once('close', this.#onClose);
  }

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    if (this.#reason === '') this.#reason = describeTlsError(error);
  };

  readonly #onClose = (): void => this.#fail(this.#reason);

  readonly #onSecure = (): void => {
    if (this.#done) return;
    const socket = this.#socket;
    const { validation, local } = this.#material;
    const peer = socket.getPeerX509Certificate();
    if (peer === undefined) {
      if (this.#demand.requireCertificate) {
        this.#fail(peerCertificateMissing);
        return;
      }
    } else if (validation !== undefined) {
      const problem = validation.check(peer, verifyProblem(socket), this.#demand.names);
      if (problem !== undefined) {
        this.#fail(problem);
        return;
      }
    }
    this.#done = true;
    this.#raw.off('close', this.#onClose);
    socket.off('close', this.#onClose);
    socket.off('end', this.#onClose);
    // The error listener stays: an error between here and the next owner must not end the process.
    const info = new ConnectionTlsInfo(socket, peer, validation !== undefined, local);
    this.#callbacks.onTransportReady(
      socket,
      info,
      socket.alpnProtocol === false ? '' : (socket.alpnProtocol ?? ''),
    );
  };

  #fail(reason: string): void {
    if (this.#done) return;
    this.#done = true;
    this.#socket.destroy();
    this.#raw.destroy();
    this.#callbacks.onTransportFailure(reason);
  }
}
