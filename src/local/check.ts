/** `trysail up --check`: sends requests, looks at what came back and at what the sidecars say, and tells what was wrong. */
import { Agent } from 'node:http';
import type { DestinationRule } from '#config/kinds/destination_rule/types.ts';
import type { VirtualService } from '#config/kinds/virtual_service/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import type { CheckLine } from './host_driver.ts';
import type { RequestCount } from './request_stats.ts';
import { requestOnce, type TrafficTarget } from './traffic.ts';

/** Share of a version may be this far from its weight: 200 samples, four standard deviations. */
const maxDeviation = 0.15;

/** Sends requests, a few at a time; gives how many had each status. */
export async function sendRequests(target: TrafficTarget, count: number): Promise<Map<number, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const statuses = new Map<number, number>();
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left--;
      const { status } = await requestOnce(target, agent);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  agent.destroy();
  return statuses;
}

/** Weights by version that the only unconditional route of an app's VirtualService gives; undefined when none does. */
function wantedShares(store: ConfigStore, app: string): Map<string, number> | undefined {
  const specOf = <T>(kind: string): T | undefined => {
    const found = store.list(kind).find((resource) => {
      const spec = (resource.body as { readonly spec?: { host?: string; hosts?: string[] } }).spec;
      return [spec?.host, ...(spec?.hosts ?? [])].some((host) => host?.split('.')[0] === app);
    });
    return (found?.body as { readonly spec?: T } | undefined)?.spec;
  };
  const routes = specOf<VirtualService>('VirtualService')?.http ?? [];
  const subsets = specOf<DestinationRule>('DestinationRule')?.subsets ?? [];
  const last = routes.at(-1);
  if (last === undefined || last.match !== undefined) return undefined;
  const shares = new Map<string, number>();
  const destinations = last.route ?? [];
  const total = destinations.reduce((sum, { weight }) => sum + (weight ?? 0), 0);
  for (const { destination, weight } of destinations) {
    const version = subsets.find(({ name }) => name === destination?.subset)?.labels?.['version'];
    if (version === undefined) return undefined;
    shares.set(version, destinations.length === 1 ? 1 : (weight ?? 0) / Math.max(1, total));
  }
  return shares;
}

/** Judges the answers. */
export function checkStatuses(statuses: ReadonlyMap<number, number>, count: number): CheckLine {
  const good = statuses.get(200) ?? 0;
  const others = [...statuses]
    .filter(([status]) => status !== 200)
    .map(([status, n]) => `${status === 0 ? 'no answer' : status}: ${n}`);
  return {
    ok: good === count,
    text: `${good} of ${count} requests answered 200${others.length > 0 ? ` (${others.join(', ')})` : ''}`,
  };
}

/** Judges how the versions of each app shared the requests between two readings of the metrics. */
export function checkSpread(store: ConfigStore, counts: readonly RequestCount[]): CheckLine[] {
  const byApp = new Map<string, Map<string, number>>();
  for (const { app, version, value } of counts) {
    const versions = byApp.get(app) ?? new Map<string, number>();
    versions.set(version, (versions.get(version) ?? 0) + value);
    byApp.set(app, versions);
  }
  const lines: CheckLine[] = [];
  for (const [app, versions] of byApp) {
    if (versions.size < 2) continue;
    const total = [...versions.values()].reduce((a, b) => a + b, 0);
    const wanted = wantedShares(store, app);
    let ok = total > 0;
    const parts: string[] = [];
    for (const [version, value] of [...versions].sort(([a], [b]) => a.localeCompare(b))) {
      const share = total === 0 ? 0 : value / total;
      const want = wanted?.get(version) ?? (wanted === undefined ? undefined : 0);
      if (want === undefined ? value === 0 : Math.abs(share - want) > maxDeviation) ok = false;
      parts.push(`${version} ${value}${want === undefined ? '' : ` (weight ${Math.round(want * 100)} %)`}`);
    }
    lines.push({ ok, text: `${app} spread over versions: ${parts.join(', ')}` });
  }
  return lines;
}

/** Judges that every hop between sidecars was mutual TLS. */
export function checkMutualTls(counts: readonly RequestCount[]): CheckLine {
  const total = counts.reduce((sum, { value }) => sum + value, 0);
  const mutual = counts
    .filter(({ security }) => security === 'mutual_tls')
    .reduce((sum, { value }) => sum + value, 0);
  const plain = [
    ...new Set(
      counts
        .filter(({ security, value }) => security !== 'mutual_tls' && value > 0)
        .map(({ source, workload }) => `${source} -> ${workload}`),
    ),
  ];
  return {
    ok: total > 0 && mutual === total,
    text: `mutual TLS on ${mutual} of ${total} requests between sidecars${plain.length > 0 ? ` (without: ${plain.join(', ')})` : ''}`,
  };
}

/** Differences of two readings of the same counters. */
export function subtractCounts(
  after: readonly RequestCount[],
  before: readonly RequestCount[],
): RequestCount[] {
  const key = (count: RequestCount): string =>
    [count.workload, count.version, count.code, count.security, count.source].join(' ');
  const old = new Map<string, number>();
  for (const count of before) old.set(key(count), (old.get(key(count)) ?? 0) + count.value);
  return after
    .map((count) => {
      const earlier = old.get(key(count)) ?? 0;
      old.delete(key(count));
      return { ...count, value: count.value - earlier };
    })
    .filter(({ value }) => value > 0);
}
