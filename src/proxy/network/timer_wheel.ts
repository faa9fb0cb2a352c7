/**
 * The one coarse timer of a worker: request, connect and idle timeouts are linked into slots of a wheel in place of a
 * `setTimeout` each. Starting, moving and cancelling a timer cost a few field writes. A timer fires up to one tick late,
 * never early. Bench: bench/micro/timer_wheel.ts.
 */

/** Width of one slot, milliseconds. */
const tickMs = 5;
/** Slots of the wheel; a timer further away than `tickMs * slots` is looked at once per turn. */
const slots = 1024;
/** Longest delay, milliseconds (24.8 days, as setTimeout); longer ones are cut to it. */
const maxDelayMs = 0x7fff_ffff;

/** One armed timer. Owned by the wheel; holders only pass it back to `cancel` and `refresh`. */
export interface TimerHandle {
  /** False once it fired or was cancelled. */
  readonly active: boolean;
}

class Entry implements TimerHandle {
  active = true;
  deadline: number;
  callback: ((arg: unknown) => void) | undefined;
  arg: unknown;
  prev: Entry | undefined = undefined;
  next: Entry | undefined = undefined;
  slot = -1;

  constructor(deadline: number, callback: (arg: unknown) => void, arg: unknown) {
    this.deadline = deadline;
    this.callback = callback;
    this.arg = arg;
  }
}

/** What a wheel reads the time from and wakes up by; tests inject their own. */
export interface WheelClock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Calls back once after the delay; replaces an earlier request. */
  wake(delayMs: number, callback: () => void): void;
  stop(): void;
}

function systemClock(): WheelClock {
  let timer: NodeJS.Timeout | undefined;
  return {
    now: () => performance.now(),
    wake(delayMs, callback) {
      if (timer !== undefined) clearTimeout(timer);
      timer = setTimeout(callback, delayMs);
      // Sockets keep a worker alive, timeouts alone must not.
      timer.unref();
    },
    stop() {
      if (timer !== undefined) clearTimeout(timer);
      timer = undefined;
    },
  };
}

/** A hashed timer wheel. It sleeps while no timer is armed and wakes only for slots that hold one. */
export class TimerWheel {
  readonly #clock: WheelClock;
  readonly #slots: (Entry | undefined)[] = Array.from({ length: slots }, () => undefined);
  readonly #onWake = (): void => this.#run();
  /** Next tick (absolute number) to look at. */
  #tick: number;
  /** Tick the clock is set for; -1 when it sleeps. */
  #wakeTick = -1;
  #size = 0;

  constructor(clock: WheelClock = systemClock()) {
    this.#clock = clock;
    this.#tick = Math.floor(clock.now() / tickMs);
  }

  /** Timers armed. */
  get size(): number {
    return this.#size;
  }

  /** Monotonic milliseconds of the wheel's clock. */
  now(): number {
    return this.#clock.now();
  }

  /**
   * Calls `callback(arg)` once after `delayMs`. Passing the object as `arg` to a shared function saves a closure.
   * @param delayMs milliseconds, 0 to 2^31-1; values outside are moved to the nearest bound.
   */
  schedule<T>(delayMs: number, callback: (arg: T) => void, arg: T): TimerHandle;
  schedule(delayMs: number, callback: () => void): TimerHandle;
  schedule(delayMs: number, callback: (arg: never) => void, arg?: unknown): TimerHandle {
    const deadline = this.#clock.now() + Math.min(Math.max(delayMs, 0), maxDelayMs);
    const entry = new Entry(deadline, callback as (arg: unknown) => void, arg);
    this.#size++;
    this.#link(entry);
    return entry;
  }

  /** Disarms; harmless for undefined and for timers that fired. */
  cancel(handle: TimerHandle | undefined): void {
    if (handle === undefined || !handle.active) return;
    const entry = handle as Entry;
    entry.active = false;
    entry.callback = undefined;
    entry.arg = undefined;
    this.#unlink(entry);
    this.#size--;
  }

  /**
   * Moves an armed timer to `delayMs` from now. Moving to a later time is one field write (idle timeouts). False when
   * the timer is no longer armed.
   */
  refresh(handle: TimerHandle, delayMs: number): boolean {
    if (!handle.active) return false;
    const entry = handle as Entry;
    const deadline = this.#clock.now() + Math.min(Math.max(delayMs, 0), maxDelayMs);
    if (deadline >= entry.deadline) {
      entry.deadline = deadline;
      return true;
    }
    this.#unlink(entry);
    entry.deadline = deadline;
    this.#link(entry);
    return true;
  }

  #link(entry: Entry): void {
    if (this.#wakeTick < 0) this.#tick = Math.floor(this.#clock.now() / tickMs);
    const due = Math.max(Math.ceil(entry.deadline / tickMs), this.#tick);
    const slot = due % slots;
    this.#insert(entry, slot);
    // A slot comes round once per turn: look at it at its next passage, which is at or before the deadline.
    const passage = this.#tick + ((slot - (this.#tick % slots) + slots) % slots);
    if (this.#wakeTick < 0 || passage < this.#wakeTick) this.#arm(passage);
  }

  #unlink(entry: Entry): void {
    if (entry.prev !== undefined) entry.prev.next = entry.next;
    else if (entry.slot >= 0 && this.#slots[entry.slot] === entry) this.#slots[entry.slot] = entry.next;
    if (entry.next !== undefined) entry.next.prev = entry.prev;
    entry.prev = undefined;
    entry.next = undefined;
  }

  #arm(tick: number): void {
    this.#wakeTick = tick;
    this.#clock.wake(Math.max(Math.ceil(tick * tickMs - this.#clock.now()), 1), this.#onWake);
  }

  #run(): void {
    const nowTick = Math.floor(this.#clock.now() / tickMs);
    // After a long sleep every slot is looked at once, not once per missed turn.
    const first = Math.max(this.#tick, nowTick - slots + 1);
    const expired: Entry[] = [];
    this.#tick = nowTick + 1;
    for (let tick = first; tick <= nowTick; tick++) this.#sweep(tick % slots, nowTick, expired);
    let fired = 0;
    try {
      while (fired < expired.length) this.#fire(expired[fired++] as Entry);
    } finally {
      // A callback that throws must not take the timers behind it along.
      for (; fired < expired.length; fired++) if (expired[fired]?.active) this.#link(expired[fired] as Entry);
      this.#sleep();
    }
  }

  /** Takes what is due out of a slot and moves what was refreshed to its new one. */
  #sweep(slot: number, nowTick: number, expired: Entry[]): void {
    let entry = this.#slots[slot];
    while (entry !== undefined) {
      const next: Entry | undefined = entry.next;
      const due = Math.ceil(entry.deadline / tickMs);
      if (due <= nowTick) {
        this.#unlink(entry);
        entry.slot = -1;
        expired.push(entry);
      } else if (due % slots !== slot) {
        this.#unlink(entry);
        this.#insert(entry, due % slots);
      }
      entry = next;
    }
  }

  #fire(entry: Entry): void {
    if (!entry.active) return;
    const { callback, arg } = entry;
    entry.active = false;
    entry.callback = undefined;
    entry.arg = undefined;
    this.#size--;
    callback?.(arg);
  }

  #insert(entry: Entry, slot: number): void {
    entry.slot = slot;
    const head = this.#slots[slot];
    entry.prev = undefined;
    entry.next = head;
    if (head !== undefined) head.prev = entry;
    this.#slots[slot] = entry;
  }

  #sleep(): void {
    if (this.#size === 0) {
      this.#wakeTick = -1;
      this.#clock.stop();
      return;
    }
    for (let i = 0; i < slots; i++) {
      if (this.#slots[(this.#tick + i) % slots] !== undefined) {
        this.#arm(this.#tick + i);
        return;
      }
    }
  }
}

/** The wheel of this worker (each worker thread has its own copy of this module). */
export const workerTimers: TimerWheel = new TimerWheel();
