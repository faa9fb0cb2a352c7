/** One worker thread as the main thread sees it: questions with answers, a pulse, an end. */
import { Worker } from 'node:worker_threads';
import type { ConfigUpdate, Rejection } from '../config/config_update.ts';
import type { Answers, FromWorker, Question, ToWorker, WorkerInit } from './messages.ts';

/** What the owner of a worker hears. */
export interface WorkerCallbacks {
  /** Everything but verdicts and answers. */
  onMessage(message: FromWorker): void;
  /** The thread has ended; `error` says why when it was not asked to. Called once. */
  onExit(error: Error | undefined): void;
}

/**
 * The young generation of a worker: three semi-spaces. Four-megabyte semi-spaces cost a few percent of CPU under full load
 * and save ten megabytes (docs/decisions/0007-threads-and-memory.md).
 */
const maxYoungGenerationSizeMb = 12;

/** A worker that was told to end gets this long. */
const closeTimeoutMs = 5_000;

/** A thread that is killed ends within microseconds, unless it hangs in a system call. */
const killTimeoutMs = 1_000;

export class WorkerThread {
  readonly index: number;
  /** True once its static resources are live. */
  started = false;
  readonly #worker: Worker;
  readonly #callbacks: WorkerCallbacks;
  readonly #beats: Int32Array;
  #lastBeat = 0;
  #missedBeats = 0;
  #nextId = 1;
  readonly #verdicts = new Map<number, (rejected: readonly Rejection[] | 'ended') => void>();
  readonly #answers = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #ended = false;
  #closing = false;
  #error: Error | undefined;

  /** @param entry file of the thread, `worker_main.ts` but in tests. */
  constructor(init: Omit<WorkerInit, 'heartbeat'>, callbacks: WorkerCallbacks, entry: URL) {
    this.index = init.index;
    this.#callbacks = callbacks;
    const heartbeat = new SharedArrayBuffer(4);
    this.#beats = new Int32Array(heartbeat);
    this.#worker = new Worker(entry, {
      workerData: { ...init, heartbeat } satisfies WorkerInit,
      name: `worker_${init.index}`,
      resourceLimits: { maxYoungGenerationSizeMb },
    });
    this.#worker.on('message', (message: FromWorker) => this.#onMessage(message));
    this.#worker.on('error', (error: unknown) => {
      this.#error = error instanceof Error ? error : new Error(String(error));
    });
    this.#worker.on('exit', (code) => this.#onExit(code));
  }

  post(message: ToWorker): void {
    if (!this.#ended) this.#worker.postMessage(message);
  }

  /** Resolves with what is refused, or when the worker ends before it answers. */
  update(update: ConfigUpdate): Promise<readonly Rejection[] | 'ended'> {
    if (this.#ended) return Promise.resolve('ended');
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#verdicts.set(id, resolve);
      this.post({ kind: 'update', id, update });
    });
  }

  /** Rejects when the worker ends before it answers. */
  ask<Q extends Question>(question: Q): Promise<Answers[Q]> {
    if (this.#ended) return Promise.reject(new Error('the worker has ended'));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#answers.set(id, { resolve: resolve as (value: never) => void, reject });
      this.post({ kind: 'ask', id, question });
    });
  }

  /** Counts the calls in a row that found the event loop standing still. */
  checkPulse(): number {
    const beat = Atomics.load(this.#beats, 0);
    if (beat !== this.#lastBeat) this.#missedBeats = 0;
    // Before the first beat it is still loading code.
    else if (beat !== 0) this.#missedBeats++;
    this.#lastBeat = beat;
    return this.#missedBeats;
  }

  /** Ends the thread at once; `reason` is what `onExit` hears. */
  kill(reason: Error): void {
    this.#error = reason;
    void this.#worker.terminate();
    // A thread that hangs in a system call cannot be ended: it is given up, whatever becomes of it.
    setTimeout(() => this.#onExit(1), killTimeoutMs).unref();
  }

  /** Ends the thread after it has written its logs. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#closing = true;
    const exited = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    this.post({ kind: 'close' });
    const timer = setTimeout(() => void this.#worker.terminate(), closeTimeoutMs);
    await exited;
    clearTimeout(timer);
  }

  #onMessage(message: FromWorker): void {
    switch (message.kind) {
      case 'verdict': {
        const resolve = this.#verdicts.get(message.id);
        this.#verdicts.delete(message.id);
        resolve?.(message.rejected);
        return;
      }
      case 'answer': {
        const asked = this.#answers.get(message.id);
        this.#answers.delete(message.id);
        asked?.resolve(message.value as never);
        return;
      }
      case 'closed':
        void this.#worker.terminate();
        return;
      case 'failed':
        this.#error = new Error(message.message);
        void this.#worker.terminate();
        return;
      case 'started':
        this.started = true;
        this.#callbacks.onMessage(message);
        return;
      default:
        this.#callbacks.onMessage(message);
    }
  }

  #onExit(code: number): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const resolve of this.#verdicts.values()) resolve('ended');
    this.#verdicts.clear();
    const error = this.#error ?? new Error(`the worker ended with code ${code}`);
    for (const { reject } of this.#answers.values()) reject(error);
    this.#answers.clear();
    this.#callbacks.onExit(this.#closing ? undefined : error);
  }
}
