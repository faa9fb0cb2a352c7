/** A worker as the pool sees it, in a thread of its own or not: questions with answers, a pulse, an end. */
import type { ConfigUpdate, Rejection } from '../config/config_update.ts';
import type { Answers, FromWorker, Question, ToWorker } from './messages.ts';

/** What the owner of a worker hears. */
export interface WorkerCallbacks {
  /** Everything but verdicts and answers. */
  onMessage(message: FromWorker): void;
  /** The worker has ended; `error` says why when it was not asked to. Called once. */
  onExit(error: Error | undefined): void;
}

export interface ProxyWorker {
  /** True once its static resources are live. */
  readonly started: boolean;
  readonly calls: WorkerCalls;
  post(message: ToWorker): void;
  /** Counts the calls in a row that found the event loop standing still. */
  checkPulse(): number;
  /** Ends it at once; `reason` is what `onExit` hears. */
  kill(reason: Error): void;
  /** Ends it after it has written its logs. */
  close(): Promise<void>;
}

/** Questions that wait for their answers. */
export class WorkerCalls {
  readonly #post: (message: ToWorker) => void;
  readonly #verdicts = new Map<number, (rejected: readonly Rejection[] | 'ended') => void>();
  readonly #answers = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  #ended: Error | undefined;

  constructor(post: (message: ToWorker) => void) {
    this.#post = post;
  }

  /** Resolves with what is refused, or when the worker ends before it answers. */
  update(update: ConfigUpdate): Promise<readonly Rejection[] | 'ended'> {
    if (this.#ended !== undefined) return Promise.resolve('ended');
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#verdicts.set(id, resolve);
      this.#post({ kind: 'update', id, update });
    });
  }

  /** Rejects when the worker ends before it answers. */
  ask<Q extends Question>(question: Q): Promise<Answers[Q]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#answers.set(id, { resolve: resolve as (value: never) => void, reject });
      this.#post({ kind: 'ask', id, question });
    });
  }

  /** True when the message answers a question. */
  take(message: FromWorker): boolean {
    if (message.kind === 'verdict') {
      const resolve = this.#verdicts.get(message.id);
      this.#verdicts.delete(message.id);
      resolve?.(message.rejected);
      return true;
    }
    if (message.kind !== 'answer') return false;
    const asked = this.#answers.get(message.id);
    this.#answers.delete(message.id);
    asked?.resolve(message.value as never);
    return true;
  }

  /** The worker is gone: nobody will answer. */
  end(error: Error): void {
    this.#ended = error;
    for (const resolve of this.#verdicts.values()) resolve('ended');
    this.#verdicts.clear();
    for (const { reject } of this.#answers.values()) reject(error);
    this.#answers.clear();
  }
}
