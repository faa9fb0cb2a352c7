/** Responses by status: the same names and numbers on `/stats` and `/stats/prometheus`. */
import assert from 'node:assert/strict';
import { type Run, conformance } from '../harness/conformance.ts';

const counted = '(^cluster.*upstream_rq_(completed|.xx|[0-9]+)$)|(^http.in.downstream_rq_(completed|.xx)$)';

/** Lines of a page without comments, labels in order. */
async function lines(run: Run, path: string): Promise<string[]> {
  const { body } = await run.admin(`${path}?usedonly&filter=${encodeURIComponent(counted)}`);
  return body
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) =>
      line.replace(/\{(.*)\}/, (_all, labels: string) => `{${labels.split(',').sort().join(',')}}`),
    )
    .sort();
}

async function requests(run: Run): Promise<void> {
  for (const [path, headers, status] of [
    ['/', {}, 200],
    ['/', {}, 200],
    ['/', { 'x-want-status': '404' }, 404],
    ['/', { 'x-want-status': '299' }, 299],
    ['/', { 'x-forwarded-for': '10.1.1.1', 'x-envoy-internal': 'true' }, 200],
    ['/retry/a', { 'x-want-fail-first': '1' }, 200],
    ['/retry/b', { 'x-want-status': '500' }, 500],
    ['/none', {}, 503],
    ['/refused', {}, 503],
    ['/canary', {}, 200],
    ['/direct', {}, 418],
  ] as const)
    assert.equal((await run.get(path, { headers })).status, status, path);
}

conformance(import.meta.filename, {
  rows: ['8.4', '9.1'],
  cases: {
    'by status, class and kind of request': async (run) => {
      await requests(run);
      assert.deepEqual(
        await lines(run, '/stats'),
        [
          'cluster.app.external.upstream_rq_200: 3',
          'cluster.app.external.upstream_rq_299: 1',
          'cluster.app.external.upstream_rq_2xx: 4',
          'cluster.app.external.upstream_rq_404: 1',
          'cluster.app.external.upstream_rq_4xx: 1',
          'cluster.app.external.upstream_rq_completed: 5',
          'cluster.app.upstream_rq_200: 3',
          'cluster.app.upstream_rq_299: 1',
          'cluster.app.upstream_rq_2xx: 4',
          'cluster.app.upstream_rq_404: 1',
          'cluster.app.upstream_rq_4xx: 1',
          'cluster.app.upstream_rq_completed: 5',
          ...['canary.', 'external.', ''].flatMap((kind) => [
            `cluster.canary.${kind}upstream_rq_200: 1`,
            `cluster.canary.${kind}upstream_rq_2xx: 1`,
            `cluster.canary.${kind}upstream_rq_completed: 1`,
          ]),
          ...['none', 'refused'].flatMap((cluster) =>
            ['external.', ''].flatMap((kind) => [
              `cluster.${cluster}.${kind}upstream_rq_503: 1`,
              `cluster.${cluster}.${kind}upstream_rq_5xx: 1`,
              `cluster.${cluster}.${kind}upstream_rq_completed: 1`,
            ]),
          ),
          ...['external.', ''].flatMap((kind) => [
            `cluster.retried.${kind}upstream_rq_200: 1`,
            `cluster.retried.${kind}upstream_rq_2xx: 1`,
            `cluster.retried.${kind}upstream_rq_500: 1`,
            `cluster.retried.${kind}upstream_rq_5xx: 1`,
            `cluster.retried.${kind}upstream_rq_completed: 2`,
          ]),
          'cluster.retried.retry.upstream_rq_500: 2',
          'cluster.retried.retry.upstream_rq_503: 1',
          'cluster.retried.retry.upstream_rq_5xx: 3',
          'cluster.retried.retry.upstream_rq_completed: 3',
          'http.in.downstream_rq_2xx: 6',
          'http.in.downstream_rq_4xx: 2',
          'http.in.downstream_rq_5xx: 3',
          'http.in.downstream_rq_completed: 11',
        ].sort(),
      );
      const prometheus = await lines(run, '/stats/prometheus');
      for (const line of [
        'envoy_cluster_upstream_rq{envoy_cluster_name="app",envoy_response_code="200"} 3',
        'envoy_cluster_upstream_rq_xx{envoy_cluster_name="app",envoy_response_code_class="2"} 4',
        'envoy_cluster_upstream_rq_completed{envoy_cluster_name="app"} 5',
        'envoy_cluster_external_upstream_rq{envoy_cluster_name="app",envoy_response_code="404"} 1',
        'envoy_cluster_retry_upstream_rq_xx{envoy_cluster_name="retried",envoy_response_code_class="5"} 3',
        'envoy_cluster_canary_upstream_rq_completed{envoy_cluster_name="canary"} 1',
        'envoy_http_downstream_rq_xx{envoy_http_conn_manager_prefix="in",envoy_response_code_class="4"} 2',
        'envoy_http_downstream_rq_completed{envoy_http_conn_manager_prefix="in"} 11',
      ])
        assert.ok(prometheus.includes(line), `${line} of\n${prometheus.join('\n')}`);
    },
  },
});
