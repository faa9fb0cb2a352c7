/** Objects of a cluster that are not good: kept for the log, the metric and the debug page until they are. */
import type { Logger } from '#base/log.ts';
import type { KubeMeta } from '#kube/object.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { Issue } from '../../schema/issue.ts';
import { issueText } from './read_object.ts';

/** An object that is not in force as it stands. */
export interface KubeProblem {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** `spec.http[0].route: expected a list, found "x"`. */
  readonly errors: readonly string[];
  /** What is in force of it: the last good version, or nothing. */
  readonly inForce: 'last good version' | 'nothing';
}

/** Most objects whose errors are kept; more are only counted. */
const maxProblems = 1000;

/** Keeps problems by object. */
export class Problems {
  readonly #log: Logger;
  readonly #metrics: MetricsRegistry;
  readonly #onProblem: ((problem: KubeProblem) => void) | undefined;
  readonly #byKey = new Map<string, KubeProblem>();
  readonly #count = new Map<string, Set<string>>();

  constructor(log: Logger, metrics: MetricsRegistry, onProblem?: (problem: KubeProblem) => void) {
    this.#log = log;
    this.#metrics = metrics;
    this.#onProblem = onProblem;
  }

  list(): readonly KubeProblem[] {
    return [...this.#byKey.values()];
  }

  /** The object is not good. Logged once per set of errors. */
  add(
    apiVersion: string,
    kind: string,
    metadata: KubeMeta,
    issues: readonly Issue[],
    hasLastGood: boolean,
  ): void {
    const { namespace = '', name, uid = '' } = metadata;
    const key = `${kind}/${namespace}/${name}`;
    const errors = issues.slice(0, 20).map(issueText);
    const inForce = hasLastGood ? 'last good version' : 'nothing';
    const problem: KubeProblem = { apiVersion, kind, namespace, name, uid, errors, inForce };
    const before = this.#byKey.get(key);
    this.#note(kind, key, true);
    if (before !== undefined || this.#byKey.size < maxProblems) this.#byKey.set(key, problem);
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(problem)) return;
    for (const error of errors)
      this.#log.error(`${kind} ${namespace === '' ? '' : `${namespace}/`}${name}: ${error}`, { inForce });
    this.#onProblem?.(problem);
  }

  /** The object is good, or gone. */
  clear(kind: string, { namespace = '', name }: Pick<KubeMeta, 'namespace' | 'name'>): void {
    const key = `${kind}/${namespace}/${name}`;
    this.#byKey.delete(key);
    this.#note(kind, key, false);
  }

  #note(kind: string, key: string, bad: boolean): void {
    let keys = this.#count.get(kind);
    if (keys === undefined) {
      if (!bad) return;
      this.#count.set(kind, (keys = new Set()));
    }
    if (bad) keys.add(key);
    else if (!keys.delete(key)) return;
    this.#metrics
      .gauge(
        'pilot_rejected_configs',
        { kind },
        'Objects of the cluster that are not in force as they stand.',
      )
      .set(keys.size);
  }
}
