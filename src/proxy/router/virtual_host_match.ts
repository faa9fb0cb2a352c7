/**
 * Which virtual host serves an authority (envoy.config.route.v3.VirtualHost.domains): exact, then the longest `*.suffix`,
 * then the longest `prefix.*`, then `*`. Wildcards stand for at least one character.
 */

interface Wildcards<T> {
  /** Longest first. */
  readonly lengths: readonly number[];
  readonly byText: ReadonlyMap<string, T>;
}

export class DomainMatcher<T> {
  readonly #exact = new Map<string, T>();
  readonly #suffixes: Wildcards<T>;
  readonly #prefixes: Wildcards<T>;
  #any: T | undefined = undefined;

  /** @throws Error when a domain stands twice. */
  constructor(entries: readonly (readonly [domain: string, target: T])[]) {
    const suffixes = new Map<string, T>();
    const prefixes = new Map<string, T>();
    for (const [domain, target] of entries) {
      const lower = domain.toLowerCase();
      if (lower === '*') {
        if (this.#any !== undefined) throw new Error('only one virtual host may have the domain *');
        this.#any = target;
      } else if (lower.startsWith('*')) put(suffixes, lower.slice(1), target, domain);
      else if (lower.endsWith('*')) put(prefixes, lower.slice(0, -1), target, domain);
      else put(this.#exact, lower, target, domain);
    }
    this.#suffixes = { lengths: lengthsOf(suffixes), byText: suffixes };
    this.#prefixes = { lengths: lengthsOf(prefixes), byText: prefixes };
  }

  /** @param host in lower case, with its port unless that is ignored. */
  match(host: string): T | undefined {
    const exact = this.#exact.get(host);
    if (exact !== undefined) return exact;
    for (const length of this.#suffixes.lengths) {
      if (length >= host.length) continue;
      const found = this.#suffixes.byText.get(host.slice(host.length - length));
      if (found !== undefined) return found;
    }
    for (const length of this.#prefixes.lengths) {
      if (length >= host.length) continue;
      const found = this.#prefixes.byText.get(host.slice(0, length));
      if (found !== undefined) return found;
    }
    return this.#any;
  }

  /** True when `*` alone decides. */
  get onlyAny(): boolean {
    return (
      this.#exact.size === 0 && this.#suffixes.lengths.length === 0 && this.#prefixes.lengths.length === 0
    );
  }
}

function put<T>(map: Map<string, T>, text: string, target: T, domain: string): void {
  if (map.has(text)) throw new Error(`only unique domains are permitted: ${domain} stands twice`);
  map.set(text, target);
}

function lengthsOf(map: ReadonlyMap<string, unknown>): number[] {
  return [...new Set([...map.keys()].map((text) => text.length))].sort((a, b) => b - a);
}

/** The host without what follows its last colon, number or not (ignore_port_in_host_matching). */
export function withoutPort(host: string): string {
  const colon = host.lastIndexOf(':');
  return colon < 0 || host.endsWith(']') ? host : host.slice(0, colon);
}

/** The host without `:port`; IPv6 literals keep their brackets. */
export function stripPort(host: string): string {
  const colon = host.lastIndexOf(':');
  if (colon < 0 || host.endsWith(']')) return host;
  for (let i = colon + 1; i < host.length; i++) {
    const c = host.charCodeAt(i);
    if (c < 48 || c > 57) return host;
  }
  return host.slice(0, colon);
}
