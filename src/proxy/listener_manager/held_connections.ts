/**
 * Connections that come while none is to be taken up (`envoy.overload_actions.stop_accepting_connections`). Node cannot leave
 * them in the queue of the kernel: they are accepted, not read, and taken up when the overload is over.
 */
import type { Socket } from 'node:net';
import type { OverloadState } from '../network/overload_state.ts';
import type { BindAddress } from './listener_version.ts';

/** Connections of one listener that may wait; more are closed. */
const maxHeld = 1_024;

export class HeldConnections {
  readonly #overload: OverloadState;
  readonly #takeUp: (socket: Socket, address: BindAddress) => void;
  readonly #held = new Map<Socket, BindAddress>();
  #unsubscribe: (() => void) | undefined = undefined;

  constructor(overload: OverloadState, takeUp: (socket: Socket, address: BindAddress) => void) {
    this.#overload = overload;
    this.#takeUp = takeUp;
  }

  /** True when the connection waits, or there are too many that do. */
  hold(socket: Socket, address: BindAddress): boolean {
    if (!this.#overload.stopAcceptingConnections) return false;
    if (this.#held.size >= maxHeld) {
      socket.destroy();
      return true;
    }
    this.#unsubscribe ??= this.#overload.onResume(() => this.#resume());
    this.#held.set(socket, address);
    socket.on('error', () => {});
    socket.once('close', () => this.#held.delete(socket));
    return true;
  }

  /** The listener accepts no more: closes those that wait. */
  drop(): void {
    this.#unsubscribe?.();
    for (const socket of this.#held.keys()) socket.destroy();
    this.#held.clear();
  }

  #resume(): void {
    const waiting = [...this.#held];
    this.#held.clear();
    for (const [socket, address] of waiting) if (!socket.destroyed) this.#takeUp(socket, address);
  }
}
