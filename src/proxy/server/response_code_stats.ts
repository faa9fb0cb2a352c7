/** Responses of clusters by status, as Envoy names them (`upstream_rq_completed`, `_2xx`, `_200`, `external.*`, ...). */
import type { FamilySnapshot, Labels, SeriesSnapshot } from '#telemetry/metrics.ts';
import { type CodeCounts, eachCode, type ResponseCodes } from '../upstream/response_codes.ts';

/** Says whether a series is kept. */
type Includes = (name: string, labels: Labels) => boolean;

/** Collects the series of all clusters of one snapshot. Series exist once something was counted, as in Envoy. */
export class ResponseCodeFamilies {
  readonly #series = new Map<string, SeriesSnapshot[]>();

  add(labels: Labels, codes: ResponseCodes, includes: Includes): void {
    this.#addCounts('', labels, [codes.external, codes.internal], includes);
    this.#addCounts('external_', labels, [codes.external], includes);
    this.#addCounts('internal_', labels, [codes.internal], includes);
    this.#addCounts('canary_', labels, [codes.canary], includes);
    this.#addCounts('retry_', labels, [codes.retry], includes);
  }

  families(): FamilySnapshot[] {
    return [...this.#series].map(([name, series]) => ({ name, type: 'counter', help: '', series }));
  }

  #addCounts(category: string, labels: Labels, counts: readonly CodeCounts[], includes: Includes): void {
    let completed = 0;
    const byClass: number[] = [];
    const byCode = new Map<number, number>();
    for (const one of counts)
      eachCode(one, (status, count) => {
        completed += count;
        if (status === 0) return;
        const digit = Math.floor(status / 100);
        byClass[digit] = (byClass[digit] ?? 0) + count;
        byCode.set(status, (byCode.get(status) ?? 0) + count);
      });
    if (completed === 0) return;
    const name = `envoy_cluster_${category}upstream_rq`;
    const push = (family: string, own: Labels, value: number): void => {
      if (!includes(family, own)) return;
      const list = this.#series.get(family);
      if (list === undefined) this.#series.set(family, [{ labels: own, value }]);
      else list.push({ labels: own, value });
    };
    push(`${name}_completed`, labels, completed);
    byClass.forEach((count, digit) =>
      push(`${name}_xx`, { envoy_response_code_class: String(digit), ...labels }, count),
    );
    for (const [status, count] of byCode)
      push(name, { envoy_response_code: String(status), ...labels }, count);
  }
}
