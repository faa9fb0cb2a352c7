/**
 * Keeps a user's filter from harming requests: what it throws ends in an answer or is passed over, and a filter that takes
 * too long is switched off and named. What never returns is ended with its worker by the watchdog (server/worker_pool.ts).
 */
import type { Logger } from '#base/log.ts';
import type { Counter, Gauge } from '#telemetry/metrics.ts';
import type { FilterCallbacks, HttpFilter, HttpFilterFactory, LocalReply } from '../../../http/filter.ts';
import { FilterStatus } from '../../../http/filter.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';

export interface GuardSettings {
  readonly name: string;
  /** Milliseconds that one call of a hook may take. */
  readonly budgetMs: number;
  /** Requests pass when the filter fails (`open`), or are answered 500 (`closed`). */
  readonly failure: 'open' | 'closed';
}

export interface GuardStats {
  readonly errors: Counter;
  readonly overBudget: Counter;
  readonly switchedOff: Gauge;
}

/** Calls over budget that switch a filter off; a hundred calls in time forgive one. */
const maxViolations = 10;
const callsPerForgiveness = 100;
/** A line of log for an error at most this often, milliseconds. */
const logIntervalMs = 1000;

/** One per filter of a chain: what its requests share. */
export class Guard {
  readonly settings: GuardSettings;
  readonly #factory: HttpFilterFactory;
  readonly #log: Logger;
  readonly #stats: GuardStats;
  readonly #now: () => number;
  #violations = 0;
  #calls = 0;
  #loggedAt = -Infinity;
  #off = false;

  constructor(
    settings: GuardSettings,
    factory: HttpFilterFactory,
    log: Logger,
    stats: GuardStats,
    now: () => number = () => performance.now(),
  ) {
    this.settings = settings;
    this.#factory = factory;
    this.#log = log;
    this.#stats = stats;
    this.#now = now;
  }

  get off(): boolean {
    return this.#off;
  }

  createFilter(callbacks: FilterCallbacks): GuardedFilter {
    return new GuardedFilter(this, callbacks, (own) => this.#factory.createFilter(own));
  }

  /** Runs a piece of the user's code; undefined when it threw. */
  run<T>(what: string, code: () => T): { readonly value: T } | undefined {
    const start = this.#now();
    try {
      return { value: code() };
    } catch (error) {
      this.#stats.errors.inc();
      if (start - this.#loggedAt >= logIntervalMs) {
        this.#loggedAt = start;
        this.#log.error('a TypeScript filter threw', { filter: this.settings.name, hook: what, error });
      }
      return undefined;
    } finally {
      this.#account(what, this.#now() - start);
    }
  }

  #account(what: string, ms: number): void {
    if (++this.#calls % callsPerForgiveness === 0 && this.#violations > 0) this.#violations--;
    if (ms <= this.settings.budgetMs || this.#off) return;
    this.#stats.overBudget.inc();
    if (++this.#violations < maxViolations) return;
    this.#off = true;
    this.#stats.switchedOff.set(1);
    this.#log.error('a TypeScript filter is switched off: it takes too long', {
      filter: this.settings.name,
      hook: what,
      tookMs: Math.round(ms * 10) / 10,
      budgetMs: this.settings.budgetMs,
    });
  }
}

/** One request. Hooks that the user's filter lacks cost nothing but the look. */
export class GuardedFilter implements HttpFilter {
  readonly #guard: Guard;
  readonly #callbacks: FilterCallbacks;
  #filter: HttpFilter | undefined = undefined;
  #failed = false;

  constructor(guard: Guard, callbacks: FilterCallbacks, create: (callbacks: FilterCallbacks) => HttpFilter) {
    this.#guard = guard;
    this.#callbacks = callbacks;
    if (guard.off) this.#failed = true;
    else {
      const made = guard.run('createFilter', () => create(callbacks));
      this.#filter = made?.value;
      this.#failed = made === undefined;
    }
  }

  /** An answer in place of the request when the filter must not be passed over. */
  #refuse(): FilterStatus {
    const reply: LocalReply = {
      status: 500,
      body: '',
      details: `typescript_filter_error{${this.#guard.settings.name.replaceAll(' ', '_')}}`,
      flags: 0,
    };
    this.#callbacks.sendLocalReply(reply);
    return FilterStatus.stopIteration;
  }

  #call(hook: string, code: ((filter: HttpFilter) => FilterStatus | undefined) | undefined): FilterStatus {
    const filter = this.#filter;
    if (filter === undefined || code === undefined || this.#failed) return FilterStatus.continue;
    const done = this.#guard.run(hook, () => code(filter));
    if (done !== undefined) return done.value ?? FilterStatus.continue;
    this.#failed = true;
    return this.#guard.settings.failure === 'closed' ? this.#refuse() : FilterStatus.continue;
  }

  decodeHeaders(headers: RequestHeaderMap, endStream: boolean): FilterStatus {
    if (this.#failed && this.#guard.settings.failure === 'closed') return this.#refuse();
    return this.#call('decodeHeaders', (filter) => filter.decodeHeaders?.(headers, endStream));
  }

  decodeData(data: Buffer, endStream: boolean): FilterStatus {
    return this.#call('decodeData', (filter) => filter.decodeData?.(data, endStream));
  }

  decodeTrailers(trailers: HeaderMap): FilterStatus {
    return this.#call('decodeTrailers', (filter) => filter.decodeTrailers?.(trailers));
  }

  encodeHeaders(headers: ResponseHeaderMap, endStream: boolean): FilterStatus {
    return this.#encode('encodeHeaders', (filter) => filter.encodeHeaders?.(headers, endStream));
  }

  encodeData(data: Buffer, endStream: boolean): FilterStatus {
    return this.#encode('encodeData', (filter) => filter.encodeData?.(data, endStream));
  }

  encodeTrailers(trailers: HeaderMap): FilterStatus {
    return this.#encode('encodeTrailers', (filter) => filter.encodeTrailers?.(trailers));
  }

  onStreamComplete(): void {
    this.#end('onStreamComplete', (filter) => filter.onStreamComplete?.());
  }

  onDestroy(): void {
    this.#end('onDestroy', (filter) => filter.onDestroy?.());
  }

  /** The answer is on its way: a filter that fails now is passed over, whatever the setting. */
  #encode(hook: string, code: (filter: HttpFilter) => FilterStatus | undefined): FilterStatus {
    const filter = this.#filter;
    if (filter === undefined || this.#failed) return FilterStatus.continue;
    const done = this.#guard.run(hook, () => code(filter));
    this.#failed = done === undefined;
    return done?.value ?? FilterStatus.continue;
  }

  #end(hook: string, code: (filter: HttpFilter) => void): void {
    const filter = this.#filter;
    if (filter !== undefined) this.#guard.run(hook, () => code(filter));
  }
}
