/** PING of our own (Envoy's connection_keepalive): asks a silent peer whether it is still there. */
import type { TimerHandle, TimerWheel } from '../../network/timer_wheel.ts';
import { pingFrame } from './frames/ping.ts';
import type { Http2KeepaliveOptions } from './options.ts';

/** What it needs of its connection. */
export interface KeepaliveOwner {
  control(frame: string): void;
  onKeepaliveTimeout(): void;
}

function onInterval(keepalive: Keepalive): void {
  keepalive.ping();
}
function onTimeout(keepalive: Keepalive): void {
  keepalive.expired();
}

/** Eight octets; the last one counts, so that a late answer is not taken for the next. */
const pingText = 'trysail';

export class Keepalive {
  readonly #owner: KeepaliveOwner;
  readonly #options: Http2KeepaliveOptions;
  readonly #timers: TimerWheel;
  readonly #random: () => number;
  #interval: TimerHandle | undefined = undefined;
  #timeout: TimerHandle | undefined = undefined;
  #count = 0;
  #expected = '';

  constructor(
    owner: KeepaliveOwner,
    options: Http2KeepaliveOptions,
    timers: TimerWheel,
    random: () => number = Math.random,
  ) {
    this.#owner = owner;
    this.#options = options;
    this.#timers = timers;
    this.#random = random;
  }

  start(): void {
    this.#schedule();
  }

  #schedule(): void {
    const { intervalMs, intervalJitterPercent } = this.#options;
    if (intervalMs <= 0) return;
    const jitter = (intervalMs * intervalJitterPercent * this.#random()) / 100;
    this.#interval = this.#timers.schedule(intervalMs + jitter, onInterval, this as Keepalive);
  }

  /** Sends a PING unless one waits for its answer. */
  ping(): void {
    this.#interval = undefined;
    if (this.#timeout !== undefined) return;
    this.#count = (this.#count + 1) & 127;
    this.#expected = pingText + String.fromCharCode(this.#count);
    this.#timeout = this.#timers.schedule(this.#options.timeoutMs, onTimeout, this as Keepalive);
    this.#owner.control(pingFrame(this.#expected, false));
  }

  /** @param payload of a PING with ACK. */
  onAck(payload: string): void {
    if (payload !== this.#expected || this.#timeout === undefined) return;
    this.#timers.cancel(this.#timeout);
    this.#timeout = undefined;
    if (this.#interval === undefined) this.#schedule();
  }

  expired(): void {
    this.#timeout = undefined;
    this.#owner.onKeepaliveTimeout();
  }

  stop(): void {
    this.#timers.cancel(this.#interval);
    this.#timers.cancel(this.#timeout);
    this.#interval = undefined;
    this.#timeout = undefined;
  }
}
