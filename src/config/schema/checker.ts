/** Walks an object beside its schema and collects issues with their paths. */
import type { Issue, IssueCode, PathSegment } from './issue.ts';

/** Most issues that are kept for one object; a hopeless object need not fill memory. */
const maxIssues = 200;

/** What rules may know about the object around a value. */
export interface ObjectContext {
  readonly name: string;
  readonly namespace: string;
}

/** Collects issues. The path of the value under check is kept on a stack. */
export class Checker {
  readonly object: ObjectContext;
  readonly issues: Issue[] = [];
  /** Errors so far, also beyond those kept. */
  errorCount = 0;
  readonly #path: PathSegment[];

  constructor(object: ObjectContext, root: readonly PathSegment[] = []) {
    this.object = object;
    this.#path = [...root];
  }

  /** Adds an error at the value under check, or at a field below it. */
  error(code: IssueCode, message: string, below: readonly PathSegment[] = [], expected?: string): void {
    this.errorCount++;
    this.#add('error', code, message, below, expected);
  }

  /** Adds a warning at the value under check, or at a field below it. */
  warn(code: IssueCode, message: string, below: readonly PathSegment[] = []): void {
    this.#add('warning', code, message, below, undefined);
  }

  /** An error of the form `expected X, found Y`. */
  mismatch(code: IssueCode, expected: string, value: unknown, below: readonly PathSegment[] = []): void {
    this.error(code, `expected ${expected}, found ${describe(value)}`, below, expected);
  }

  /** Runs a check one or more steps further down. */
  within(below: PathSegment | readonly PathSegment[], check: () => void): void {
    const depth = this.#path.length;
    if (typeof below === 'object') this.#path.push(...below);
    else this.#path.push(below);
    check();
    this.#path.length = depth;
  }

  #add(
    severity: 'error' | 'warning',
    code: IssueCode,
    message: string,
    below: readonly PathSegment[],
    expected: string | undefined,
  ): void {
    if (this.issues.length >= maxIssues) return;
    const path = [...this.#path, ...below];
    this.issues.push({ severity, code, message, path, ...(expected === undefined ? {} : { expected }) });
  }
}

/** A value as messages show it: strings quoted and cut at 60 characters, collections by their sort. */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (typeof value === 'string')
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return Object.keys(value).length === 0 ? 'an empty object' : 'an object';
  return String(value);
}

/** The candidate that was probably meant, if one is near: `wieght` -> `weight`, `per_try_timeout` -> `perTryTimeout`. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replace(/[_-]/g, '');
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = plain(word) === plain(candidate) ? 0 : editDistance(plain(word), plain(candidate));
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours; words are cut at 64 characters. */
function editDistance(first: string, second: string): number {
  const a = first.slice(0, 64);
  const b = second.slice(0, 64);
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let value = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        value = Math.min(value, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(value);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
