/**
 * HTTP header lists of a request or response: two parallel arrays, names in lower case, in order of arrival. Lists are
 * short (about ten), so a linear scan beats a hash. Pseudo headers are fields. On the hot path: bench/micro/http1_parse.ts.
 */

import { flagOf } from './header_names.ts';

/** Header fields, without pseudo headers. Repeated names stay apart until they are joined by `get`. */
export class HeaderMap {
  names: string[];
  values: string[];
  /**
   * Bits of `HeaderFlag` (header_names.ts). A clear bit says that no such header is there; a set bit says that one may be.
   * Codecs write it; lists made by hand have all bits set.
   */
  seen = -1;

  constructor(names: string[] = [], values: string[] = []) {
    this.names = names;
    this.values = values;
  }

  get size(): number {
    return this.names.length;
  }

  /** First value of a name (lower case), or undefined. */
  getFirst(name: string): string | undefined {
    const i = this.names.indexOf(name);
    return i < 0 ? undefined : this.values[i];
  }

  /** All values joined with `,` (RFC 9110 5.2), or undefined. Pseudo headers answer too (`:path`). */
  get(name: string): string | undefined {
    const { names, values } = this;
    const first = names.indexOf(name);
    if (first < 0) return name.startsWith(':') ? this.getPseudo(name) : undefined;
    let value = values[first] as string;
    for (let i = names.indexOf(name, first + 1); i >= 0; i = names.indexOf(name, i + 1))
      value += `,${values[i]}`;
    return value;
  }

  /** All values of a name in order. */
  getAll(name: string): string[] {
    const found: string[] = [];
    for (let i = this.names.indexOf(name); i >= 0; i = this.names.indexOf(name, i + 1))
      found.push(this.values[i] as string);
    return found;
  }

  has(name: string): boolean {
    return this.names.includes(name) || (name.startsWith(':') && this.getPseudo(name) !== undefined);
  }

  /** Appends without looking for an equal name. */
  add(name: string, value: string): void {
    if (this.seen !== -1) this.seen |= flagOf(name);
    this.names.push(name);
    this.values.push(value);
  }

  /** As `add`, for names whose flag the caller knows (0 for none). */
  addFlagged(name: string, value: string, flag: number): void {
    this.seen |= flag;
    this.names.push(name);
    this.values.push(value);
  }

  /** Replaces all values of a name, or appends. Pseudo headers can be set. */
  set(name: string, value: string): void {
    if (name.startsWith(':')) {
      this.setPseudo(name, value);
      return;
    }
    const first = this.names.indexOf(name);
    if (first < 0) {
      this.add(name, value);
      return;
    }
    this.values[first] = value;
    for (let i = this.names.indexOf(name, first + 1); i >= 0; i = this.names.indexOf(name, i))
      this.#removeAt(i);
  }

  /** Removes all values of a name; true when there was one. */
  remove(name: string): boolean {
    let removed = false;
    for (let i = this.names.indexOf(name); i >= 0; i = this.names.indexOf(name, i)) {
      this.#removeAt(i);
      removed = true;
    }
    return removed;
  }

  #removeAt(i: number): void {
    this.names.splice(i, 1);
    this.values.splice(i, 1);
  }

  protected getPseudo(_name: string): string | undefined {
    return undefined;
  }

  protected setPseudo(_name: string, _value: string): void {}
}

/** Request headers (RFC 9113 8.3.1 names for both HTTP versions). `authority` is empty when absent (HTTP/1.0). */
export class RequestHeaderMap extends HeaderMap {
  method = '';
  /** Path and query, `*` or empty (CONNECT). */
  path = '';
  scheme = '';
  authority = '';
  /** `:protocol` of extended CONNECT, or the `upgrade` token of HTTP/1; empty else. */
  protocol = '';

  protected override getPseudo(name: string): string | undefined {
    switch (name) {
      case ':method':
        return this.method;
      case ':path':
        return this.path === '' ? undefined : this.path;
      case ':scheme':
        return this.scheme === '' ? undefined : this.scheme;
      case ':authority':
        return this.authority;
      case ':protocol':
        return this.protocol === '' ? undefined : this.protocol;
      default:
        return undefined;
    }
  }

  protected override setPseudo(name: string, value: string): void {
    if (name === ':method') this.method = value;
    else if (name === ':path') this.path = value;
    else if (name === ':scheme') this.scheme = value;
    else if (name === ':authority') this.authority = value;
    else if (name === ':protocol') this.protocol = value;
  }
}

/** Response headers; `status` is 100-999. */
export class ResponseHeaderMap extends HeaderMap {
  status = 0;

  protected override getPseudo(name: string): string | undefined {
    return name === ':status' ? String(this.status) : undefined;
  }

  protected override setPseudo(name: string, value: string): void {
    if (name === ':status') this.status = Number(value);
  }
}
