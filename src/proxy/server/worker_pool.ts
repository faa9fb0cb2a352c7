/** All workers: starts them, replaces those that die or stand still, gives each update to all of them. */
import { Backoff } from '#base/backoff.ts';
import type { Logger } from '#base/log.ts';
import type { ConfigUpdate, Rejection } from '../config/config_update.ts';
import type { Answers, FromWorker, Question, ToWorker, WorkerInit } from './messages.ts';
import type { ProxyWorker, WorkerCallbacks } from './proxy_worker.ts';

export interface WorkerPoolOptions {
  readonly concurrency: number;
  readonly log: Logger;
  /** What each worker is born with. */
  readonly init: Omit<WorkerInit, 'heartbeat' | 'index'>;
  readonly onMessage: (worker: number, message: FromWorker) => void;
  /** Configuration that a worker which starts later has to be given. */
  readonly replay: () => readonly ConfigUpdate[];
  /** What workers were told since the start: a later one hears it behind the configuration. */
  readonly standing?: () => readonly ToWorker[];
  /** A worker has ended without being asked; the function it gives is called when the successor has the configuration. */
  readonly onWorkerGone: (worker: number) => () => void;
  /** A worker's event loop that does not turn for so long is replaced. Default 10 000. */
  readonly stuckAfterMs?: number;
  /** Makes a worker, which starts at once. */
  readonly makeWorker: (init: Omit<WorkerInit, 'heartbeat'>, callbacks: WorkerCallbacks) => ProxyWorker;
}

/** A place in the pool: the worker that is there now, and when its successor will be. */
interface Seat {
  worker: ProxyWorker;
  /** Resolves when the worker that is there has all configuration. */
  settled: Promise<void>;
  backoff: Backoff | undefined;
}

const pulseIntervalMs = 1_000;

/** A worker that lived for so long did not die of its configuration. */
const stableAfterMs = 60_000;

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #log: Logger;
  readonly #seats: Seat[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #pulse: NodeJS.Timeout | undefined;
  #closed = false;
  /** Workers that were replaced since the start. */
  replaced = 0;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#log = options.log.scope('workers');
  }

  /** Resolves when all workers have their static resources live; rejects when one of them is bad. */
  async start(): Promise<void> {
    const starting = Array.from({ length: this.#options.concurrency }, (_, index) => this.#start(index));
    try {
      await Promise.all(starting);
    } catch (error) {
      await this.close();
      throw error;
    }
    const limit = Math.max(1, Math.ceil((this.#options.stuckAfterMs ?? 10_000) / pulseIntervalMs));
    this.#pulse = setInterval(() => {
      for (const { worker } of this.#seats)
        if (worker.checkPulse() === limit)
          worker.kill(new Error(`its event loop stood still for ${limit * pulseIntervalMs} ms`));
    }, pulseIntervalMs);
    this.#pulse.unref();
  }

  post(message: ToWorker): void {
    for (const { worker } of this.#seats) worker.post(message);
  }

  /** A message to one worker. */
  postTo(index: number, message: ToWorker): void {
    this.#seats[index]?.worker.post(message);
  }

  /** Gives an update to one worker, whose verdict is known already. */
  give(index: number, update: ConfigUpdate): void {
    void this.#seats[index]?.worker.calls.update(update);
  }

  /** Ends one worker; it is replaced. */
  kill(index: number, reason: Error): void {
    this.#seats[index]?.worker.kill(reason);
  }

  /** Resolves with what any worker refuses, each name once. */
  async broadcast(update: ConfigUpdate): Promise<readonly Rejection[]> {
    const verdicts = await Promise.all(this.#seats.map((_, index) => this.#update(index, update)));
    const byName = new Map<string, Rejection>();
    for (const rejected of verdicts)
      for (const rejection of rejected)
        if (!byName.has(rejection.name)) byName.set(rejection.name, rejection);
    return [...byName.values()];
  }

  /** A worker that ends over an update leaves it to its successor; two that end over the same refuse it. */
  async #update(index: number, update: ConfigUpdate): Promise<readonly Rejection[]> {
    const seat = this.#seats[index];
    if (seat === undefined) return [];
    for (let attempt = 0; attempt < 2; attempt++) {
      await seat.settled;
      if (this.#closed) return [];
      const verdict = await seat.worker.calls.update(update);
      if (verdict !== 'ended') return verdict;
      // The exit is told in the same turn; its handler has set the promise of the successor.
      await Promise.resolve();
    }
    this.#log.error('workers end over an update, it is refused', { type: update.typeUrl });
    return update.changed.map(({ name }) => ({ name, message: 'workers ended while they built it' }));
  }

  /** Answers of all workers that live. */
  async ask<Q extends Question>(question: Q): Promise<Answers[Q][]> {
    const answers = await Promise.allSettled(this.#seats.map(({ worker }) => worker.calls.ask(question)));
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#pulse);
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.#seats.map(({ worker }) => worker.close()));
  }

  /** Resolves when the worker has started; rejects when it ends before. */
  #start(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const bornMs = performance.now();
      const worker = this.#options.makeWorker(
        { ...this.#options.init, index },
        {
          onMessage: (message) => {
            this.#options.onMessage(index, message);
            if (message.kind === 'started') resolve();
          },
          onExit: (error) => {
            if (error === undefined || this.#closed) return;
            const seat = this.#seats[index];
            // A first worker that does not start failed by its bootstrap: the owner hears of it.
            if (seat !== undefined && (worker.started || seat.backoff !== undefined))
              this.#replace(index, seat, error, performance.now() - bornMs);
            reject(error);
          },
        },
      );
      const seat = this.#seats[index];
      if (seat === undefined) this.#seats[index] = { worker, settled: Promise.resolve(), backoff: undefined };
      else seat.worker = worker;
    });
  }

  #replace(index: number, seat: Seat, error: Error, livedMs: number): void {
    const backoff = (seat.backoff ??= new Backoff({ baseMs: 20, maxMs: 10_000 }));
    if (livedMs > stableAfterMs) backoff.reset();
    const waitMs = Math.round(backoff.next());
    this.replaced++;
    this.#log.error('worker is replaced', { worker: index, error, waitMs, stack: error.stack ?? '' });
    const settle = this.#options.onWorkerGone(index);
    seat.settled = new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        this.#start(index)
          .then(() => this.#replay(seat))
          // It ended before it was told all: its own exit has begun the next replacement.
          .catch(() => {})
          .finally(() => {
            settle();
            resolve();
          });
      }, waitMs);
      this.#timers.add(timer);
    });
  }

  async #replay(seat: Seat): Promise<void> {
    const { worker } = seat;
    for (const update of this.#options.replay()) await worker.calls.update(update);
    for (const message of this.#options.standing?.() ?? []) worker.post(message);
  }
}
