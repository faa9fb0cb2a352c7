/** One worker thread as the main thread sees it. */
import { getCompileCacheDir } from 'node:module';
import { Worker } from 'node:worker_threads';
import { ticketSeed } from '../transport_sockets/tls/tickets.ts';
import type { FromWorker, ToWorker, WorkerInit } from './messages.ts';
import { type ProxyWorker, type WorkerCallbacks, WorkerCalls } from './proxy_worker.ts';

/**
 * The young generation of a worker: three semi-spaces. Four-megabyte semi-spaces cost a few percent of CPU under full load
 * and save ten megabytes (docs/decisions/0007-workers.md).
 */
const maxYoungGenerationSizeMb = 12;

/** A worker that was told to end gets this long. */
const closeTimeoutMs = 5_000;

/** A thread that is killed ends within microseconds, unless it hangs in a system call. */
const killTimeoutMs = 1_000;

export class WorkerThread implements ProxyWorker {
  readonly calls = new WorkerCalls((message) => this.post(message));
  started = false;
  readonly #worker: Worker;
  readonly #callbacks: WorkerCallbacks;
  readonly #beats: Int32Array;
  #lastBeat = 0;
  #missedBeats = 0;
  #ended = false;
  #closing = false;
  #error: Error | undefined;

  /** @param entry file of the thread, `worker_main.ts` but in tests. */
  constructor(init: Omit<WorkerInit, 'heartbeat'>, callbacks: WorkerCallbacks, entry: URL) {
    this.#callbacks = callbacks;
    const heartbeat = new SharedArrayBuffer(4);
    this.#beats = new Int32Array(heartbeat);
    // All workers read each other's session tickets.
    ticketSeed();
    this.#worker = new Worker(entry, {
      workerData: { ...init, heartbeat, compileCache: getCompileCacheDir() } satisfies WorkerInit,
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

  checkPulse(): number {
    const beat = Atomics.load(this.#beats, 0);
    if (beat !== this.#lastBeat) this.#missedBeats = 0;
    // Before the first beat it is still loading code.
    else if (beat !== 0) this.#missedBeats++;
    this.#lastBeat = beat;
    return this.#missedBeats;
  }

  kill(reason: Error): void {
    this.#error = reason;
    void this.#worker.terminate();
    // A thread that hangs in a system call cannot be ended: it is given up, whatever becomes of it.
    setTimeout(() => this.#onExit(1), killTimeoutMs).unref();
  }

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
    if (this.calls.take(message)) return;
    switch (message.kind) {
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
    const error = this.#error ?? new Error(`the worker ended with code ${code}`);
    this.calls.end(error);
    this.#callbacks.onExit(this.#closing ? undefined : error);
  }
}
