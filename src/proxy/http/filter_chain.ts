/** The HTTP filters of one connection manager, with the hooks of each looked up once. */
import {
  FilterStatus,
  type HttpFilter,
  type HttpFilterFactory,
  type TerminalHttpFilterFactory,
} from './filter.ts';

/** One entry of a chain, in the order of `http_filters`. */
export interface FilterChainEntry {
  /** Name in the configuration; the key of `typed_per_filter_config`. */
  readonly name: string;
  readonly factory: HttpFilterFactory;
  /** Off unless a route turns it on (HttpFilter.disabled). */
  readonly disabled: boolean;
}

/** Stands in for a filter that is off for a request. */
export const passThroughFilter: HttpFilter = {
  decodeHeaders: () => FilterStatus.continue,
  decodeData: () => FilterStatus.continue,
  decodeTrailers: () => FilterStatus.continue,
  encodeHeaders: () => FilterStatus.continue,
  encodeData: () => FilterStatus.continue,
  encodeTrailers: () => FilterStatus.continue,
  onStreamComplete() {},
  onDestroy() {},
};

/** Positions of the filters that have a hook: ascending for `decode*`, descending for `encode*`. */
export interface ChainHooks {
  readonly decodeHeaders: readonly number[];
  readonly decodeData: readonly number[];
  readonly decodeTrailers: readonly number[];
  readonly encodeHeaders: readonly number[];
  readonly encodeData: readonly number[];
  readonly encodeTrailers: readonly number[];
  readonly onStreamComplete: readonly number[];
  readonly onDestroy: readonly number[];
}

/** Built once per configuration of a connection manager; shared by its requests. */
export class FilterChain {
  readonly entries: readonly FilterChainEntry[];
  readonly terminal: TerminalHttpFilterFactory;
  /** True when an entry is off by default, so that the route must be asked before filters are made. */
  readonly hasDisabled: boolean;
  #hooks: ChainHooks | undefined = undefined;

  constructor(entries: readonly FilterChainEntry[], terminal: TerminalHttpFilterFactory) {
    this.entries = entries;
    this.terminal = terminal;
    this.hasDisabled = entries.some((entry) => entry.disabled);
  }

  /** Learned from the first request that has all its filters. */
  hooks(filters: readonly HttpFilter[], complete: boolean): ChainHooks {
    if (this.#hooks !== undefined) return this.#hooks;
    const hooks = findHooks(filters);
    if (complete) this.#hooks = hooks;
    return hooks;
  }

  close(): void {
    for (const { factory } of this.entries) factory.close?.();
    this.terminal.close?.();
  }
}

function findHooks(filters: readonly HttpFilter[]): ChainHooks {
  const having = (hook: keyof HttpFilter): number[] =>
    filters.flatMap((filter, i) => (filter[hook] === undefined ? [] : [i]));
  return {
    decodeHeaders: having('decodeHeaders'),
    decodeData: having('decodeData'),
    decodeTrailers: having('decodeTrailers'),
    encodeHeaders: having('encodeHeaders').reverse(),
    encodeData: having('encodeData').reverse(),
    encodeTrailers: having('encodeTrailers').reverse(),
    onStreamComplete: having('onStreamComplete'),
    onDestroy: having('onDestroy'),
  };
}
