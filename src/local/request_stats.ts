/** What the mesh carried lately, read from the sidecars' own metrics: requests/s, share by version, errors. */
import { get } from 'node:http';

/** Sums of `istio_requests_total` as the servers' sidecars count them. */
export interface RequestCount {
  readonly workload: string;
  readonly app: string;
  readonly version: string;
  readonly code: string;
  readonly security: string;
  readonly source: string;
  readonly value: number;
}

/** One try to read a page; undefined when there is no answer 200 in time. */
function tryPage(host: string, port: number, path: string, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get({ host, port, path, timeout: timeoutMs, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(response.statusCode === 200 ? text : undefined));
      response.on('error', () => resolve(undefined));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
  });
}

/** Reads the metrics page of one sidecar, trying a few times; undefined when it cannot be read. */
export async function fetchPage(
  host: string,
  port: number,
  path = '/stats/prometheus',
): Promise<string | undefined> {
  for (const timeoutMs of [2000, 5000, 10_000]) {
    const page = await tryPage(host, port, path, timeoutMs);
    if (page !== undefined) return page;
  }
  return undefined;
}

/** Labels of one Prometheus line. */
function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const match of text.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g))
    labels[match[1] ?? ''] = match[2] ?? '';
  return labels;
}

/** The requests that the sidecar of a server reports (`reporter="destination"`). */
export function parseRequests(page: string, reporter = 'destination'): RequestCount[] {
  const counts: RequestCount[] = [];
  for (const line of page.split('\n')) {
    if (!line.startsWith('istio_requests_total{')) continue;
    const end = line.lastIndexOf('}');
    const labels = labelsOf(line.slice(line.indexOf('{') + 1, end));
    if (labels['reporter'] !== reporter) continue;
    counts.push({
      workload: labels['destination_workload'] ?? '',
      app: labels['destination_app'] ?? labels['destination_canonical_service'] ?? '',
      version: labels['destination_version'] ?? labels['destination_canonical_revision'] ?? '',
      code: labels['response_code'] ?? '',
      security: labels['connection_security_policy'] ?? '',
      source: labels['source_workload'] ?? '',
      value: Number(line.slice(end + 1)),
    });
  }
  return counts;
}

/** What changed between two readings. */
export interface RequestRates {
  readonly requestsPerSecond: number;
  /** Shares of the versions of each app that has more than one, 0 to 1. */
  readonly shares: readonly {
    readonly app: string;
    readonly versions: readonly { readonly version: string; readonly share: number }[];
  }[];
  /** Share of answers 5xx or none, 0 to 1. */
  readonly errorShare: number;
}

/** Keeps the last totals and gives the differences. */
export class RequestStats {
  #last = new Map<string, number>();
  #lastTime = performance.now();

  update(counts: readonly RequestCount[]): RequestRates {
    const now = performance.now();
    const seconds = Math.max(0.001, (now - this.#lastTime) / 1000);
    this.#lastTime = now;
    const totals = new Map<string, number>();
    const byApp = new Map<string, Map<string, number>>();
    let all = 0;
    let errors = 0;
    for (const count of counts) {
      const key = `${count.workload} ${count.version} ${count.code} ${count.security} ${count.source}`;
      const total = (totals.get(key) ?? 0) + count.value;
      totals.set(key, total);
    }
    for (const count of counts) {
      const key = `${count.workload} ${count.version} ${count.code} ${count.security} ${count.source}`;
      const total = totals.get(key);
      if (total === undefined) continue;
      totals.delete(key);
      // a sidecar that started again counts from zero
      const before = this.#last.get(key) ?? 0;
      const more = total >= before ? total - before : total;
      this.#last.set(key, total);
      all += more;
      if (count.code.startsWith('5') || count.code === '0') errors += more;
      const versions = byApp.get(count.app) ?? new Map<string, number>();
      versions.set(count.version, (versions.get(count.version) ?? 0) + more);
      byApp.set(count.app, versions);
    }
    const shares = [...byApp]
      .filter(([, versions]) => versions.size > 1)
      .map(([app, versions]) => {
        const sum = [...versions.values()].reduce((a, b) => a + b, 0);
        return {
          app,
          versions: [...versions]
            .sort(([a], [b]) => a.localeCompare(b))
            .map(([version, value]) => ({ version, share: sum === 0 ? 0 : value / sum })),
        };
      });
    return { requestsPerSecond: all / seconds, shares, errorShare: all === 0 ? 0 : errors / all };
  }
}

/** `61 requests/s   reviews v1 33 % v2 34 % v3 33 %   errors 0.0 %` */
export function formatRates(rates: RequestRates): string {
  const shares = rates.shares
    .map(
      ({ app, versions }) =>
        `${app} ${versions.map((v) => `${v.version} ${Math.round(v.share * 100)} %`).join(' ')}`,
    )
    .join('   ');
  return [
    `${rates.requestsPerSecond.toFixed(0)} requests/s`,
    shares,
    `errors ${(rates.errorShare * 100).toFixed(1)} %`,
  ]
    .filter((part) => part !== '')
    .join('   ');
}
