/**
 * Responses by status: what a cluster counts as `upstream_rq_<code>` (envoy Http::CodeStats). A count is an addition in a
 * small array: a status gets its place there when this worker sees it for the first time.
 */

const maxStatus = 599;
/** Place of a status in the counts; 0 until it was seen. Place 0 itself is for what is no status. */
const places = new Uint16Array(maxStatus + 1);
const statuses: number[] = [0];

function placeOf(status: number): number {
  if (status < 100 || status > maxStatus || !Number.isInteger(status)) return 0;
  statuses.push(status);
  return (places[status] = statuses.length - 1);
}

/** At most 501 counts, in practice as many as there are different statuses. */
export type CodeCounts = number[];

export function countCode(counts: CodeCounts, status: number): void {
  const place = places[status] || placeOf(status);
  if (place < counts.length) (counts[place] as number)++;
  else {
    while (counts.length < place) counts.push(0);
    counts.push(1);
  }
}

/** Calls with each status that was counted; 0 stands for what is no status. */
export function eachCode(counts: CodeCounts, call: (status: number, count: number) => void): void {
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number;
    if (count > 0) call(statuses[i] as number, count);
  }
}

/** Of one cluster. */
export interface ResponseCodes {
  /** Of requests from outside, `x-envoy-internal` is not set. */
  readonly external: CodeCounts;
  readonly internal: CodeCounts;
  /** From hosts marked as canary. */
  readonly canary: CodeCounts;
  /** Responses that were not passed on, for the request was sent again. */
  readonly retry: CodeCounts;
}

export function newResponseCodes(): ResponseCodes {
  return { external: [], internal: [], canary: [], retry: [] };
}
