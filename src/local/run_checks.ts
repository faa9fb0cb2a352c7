/** The order of `trysail up --check`: requests, then what the sidecars, the rules and the wire say about them. */
import type { ConfigStore } from '#config/store/store.ts';
import { checkMutualTls, checkSpread, checkStatuses, sendRequests, subtractCounts } from './check.ts';
import type { CheckLine } from './host_driver.ts';
import type { RequestCount } from './request_stats.ts';
import type { RunningMesh } from './run_mesh.ts';

const requests = 200;

/** Zero counts for versions that run, so that a version without a request is seen. */
function everyVersion(mesh: RunningMesh): RequestCount[] {
  return mesh.mesh.pods
    .filter(({ pod }) => pod.injected && pod.role === 'sidecar')
    .map(({ pod }) => ({
      workload: pod.workload.name,
      app: pod.labels['app'] ?? pod.workload.name,
      version: pod.labels['version'] ?? '',
      code: '200',
      security: 'mutual_tls',
      source: '',
      value: 0,
    }));
}

export async function runChecks(
  mesh: RunningMesh,
  store: ConfigStore,
  dataPlane: 'built_in' | 'envoy',
): Promise<CheckLine[]> {
  const target = mesh.target();
  if (target === undefined) return [{ ok: false, text: 'no gateway publishes a port: nothing to ask' }];
  const evidence = await mesh.evidence?.watch([`GET ${target.path}`, 'GET /', 'HTTP/1.1 200']);
  const before = await mesh.counts();
  const statuses = await sendRequests(target, requests);
  // counters are written when a request ends; the last ones may still be on their way
  await new Promise((resolve) => setTimeout(resolve, 200));
  const after = await mesh.counts();
  const counts = subtractCounts(after.counts, before.counts);
  const unread = [...new Set([...before.unread, ...after.unread])];
  const apps = new Set(counts.map(({ app }) => app));
  const lines = [checkStatuses(statuses, requests)];
  if (unread.length > 0) lines.push({ ok: false, text: `metrics cannot be read: ${unread.join(', ')}` });
  if (dataPlane === 'envoy') {
    lines.push({ ok: true, text: 'spread and mutual TLS not counted: stock Envoy has no Istio metrics' });
  } else {
    lines.push(
      ...checkSpread(store, [...counts, ...everyVersion(mesh).filter(({ app }) => apps.has(app))]),
      checkMutualTls(counts),
    );
  }
  if (evidence !== undefined) lines.push(...(await evidence.finish()));
  return lines;
}
