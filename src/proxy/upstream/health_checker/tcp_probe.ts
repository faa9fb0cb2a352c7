/** TCP health check: connect, or send bytes and wait for others (envoy TcpHealthCheckerImpl). */
import type { Socket } from 'node:net';
import { Dial, type DialCallbacks } from '../conn_pool/dial.ts';
import { type Probe, type ProbeCallbacks, type ProbeTarget, containsAll } from './probe.ts';

/** Most bytes kept while waiting for the expected ones. */
const maxBytes = 64 * 1024;

export class TcpProbe implements Probe, DialCallbacks {
  readonly #target: ProbeTarget;
  readonly #send: Buffer | undefined;
  readonly #receive: readonly Buffer[];
  readonly #callbacks: ProbeCallbacks;
  #dial: Dial | undefined = undefined;
  #socket: Socket | undefined = undefined;
  #received: Buffer = Buffer.alloc(0);
  #running = false;

  constructor(
    target: ProbeTarget,
    send: Buffer | undefined,
    receive: readonly Buffer[],
    callbacks: ProbeCallbacks,
  ) {
    this.#target = target;
    this.#send = send;
    this.#receive = receive;
    this.#callbacks = callbacks;
  }

  run(): void {
    this.#running = true;
    this.#received = Buffer.alloc(0);
    if (this.#socket !== undefined) {
      this.#ask(this.#socket);
      return;
    }
    const { address, transport, transportOptions, dial } = this.#target;
    this.#dial = new Dial(address, transport, transportOptions, dial, this);
  }

  onConnected(socket: Socket): void {
    this.#dial = undefined;
    if (this.#receive.length === 0) {
      if (this.#send !== undefined) socket.write(this.#send);
      socket.destroy();
      this.#end(true);
      return;
    }
    this.#socket = socket;
    socket.on('data', (data: Buffer) => this.#onData(data));
    socket.once('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
      if (this.#running) this.#end(false);
    });
    this.#ask(socket);
  }

  #ask(socket: Socket): void {
    if (this.#send !== undefined) socket.write(this.#send);
  }

  #onData(data: Buffer): void {
    if (!this.#running) return;
    this.#received = Buffer.concat([this.#received, data]).subarray(0, maxBytes);
    if (!containsAll(this.#received, this.#receive)) return;
    this.#end(true);
    if (!this.#target.reuseConnection) this.#drop();
  }

  onConnectFailure(): void {
    this.#dial = undefined;
    this.#end(false);
  }

  #end(success: boolean): void {
    this.#running = false;
    if (success) this.#callbacks.onSuccess(false);
    else this.#callbacks.onFailure('NETWORK', true);
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  abort(): void {
    this.#running = false;
    this.#dial?.cancel();
    this.#dial = undefined;
    this.#drop();
  }

  close(): void {
    this.abort();
  }
}
