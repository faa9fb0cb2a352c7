/**
 * A worker on the event loop of the main thread: no second heap. It cannot be replaced: a fault in it ends the process, which
 * its supervisor starts anew (docs/decisions/0007-workers.md).
 */
import type { Counts } from '../network/shared_counts.ts';
import type { FromWorker, ToWorker, WorkerInit } from './messages.ts';
import { type ProxyWorker, type WorkerCallbacks, WorkerCalls } from './proxy_worker.ts';
import type { WorkerRuntime } from './worker.ts';

export class InlineWorker implements ProxyWorker {
  readonly calls = new WorkerCalls((message) => this.post(message));
  started = false;
  readonly #callbacks: WorkerCallbacks;
  readonly #runtime: Promise<WorkerRuntime>;
  #ended = false;

  constructor(init: Omit<WorkerInit, 'heartbeat'>, callbacks: WorkerCallbacks, counts: Counts) {
    this.#callbacks = callbacks;
    this.#runtime = this.#start(init, counts);
    this.#runtime.catch((error: unknown) =>
      this.#end(error instanceof Error ? error : new Error(String(error))),
    );
  }

  async #start(init: Omit<WorkerInit, 'heartbeat'>, counts: Counts): Promise<WorkerRuntime> {
    const { WorkerRuntime } = await import('./worker.ts');
    const runtime = new WorkerRuntime(
      { ...init, heartbeat: new SharedArrayBuffer(4) },
      (message) => this.#onMessage(message),
      { counts },
    );
    try {
      await runtime.start();
    } catch (error) {
      // Listeners that were open before the bad one would keep the process alive.
      await runtime.handle({ kind: 'close' });
      throw error;
    }
    return runtime;
  }

  post(message: ToWorker): void {
    void this.#runtime.then((runtime) => (this.#ended ? undefined : runtime.handle(message)));
  }

  checkPulse(): number {
    return 0;
  }

  kill(reason: Error): void {
    this.#end(reason);
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    const runtime = await this.#runtime;
    await runtime.handle({ kind: 'close' });
    this.#end(undefined);
  }

  #onMessage(message: FromWorker): void {
    if (this.calls.take(message)) return;
    if (message.kind === 'started') this.started = true;
    if (message.kind !== 'closed') this.#callbacks.onMessage(message);
  }

  #end(error: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.calls.end(error ?? new Error('the worker has ended'));
    this.#callbacks.onExit(error);
  }
}
