/** Circuit breakers (Envoy cluster.v3.CircuitBreakers) and limits of single connections. */
import assert from 'node:assert/strict';
import { type Run, conformance } from '../harness/conformance.ts';
import type { Answer } from '../harness/http_request.ts';

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function slow(run: Run, path: string, ms = 500): Promise<Answer> {
  return run.get(path, { headers: { 'x-want-delay-ms': String(ms) } });
}

async function gauge(run: Run, cluster: string, name: string): Promise<number> {
  return run.stat(`cluster.${cluster}.circuit_breakers.${name}`);
}

/** Waits until a stat has a value, at most two seconds. */
async function reaches(run: Run, name: string, value: number): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if ((await run.stat(name)) === value) return;
    await later(20);
  }
  assert.equal(await run.stat(name), value, name);
}

function overflowed(answer: Answer): void {
  assert.equal(answer.status, 503);
  assert.equal(answer.headers['x-envoy-overloaded'], 'true');
  assert.equal(
    answer.body,
    'upstream connect error or disconnect/reset before headers. reset reason: overflow',
  );
}

conformance(import.meta.filename, {
  rows: ['5.36', '6.9'],
  cases: {
    'one connection, one waiting request, the third is refused': async (run) => {
      assert.equal(await gauge(run, 'connections', 'default.remaining_cx'), 1);
      const first = slow(run, '/connections/1');
      await reaches(run, 'cluster.connections.upstream_rq_active', 1);
      const second = slow(run, '/connections/2', 0);
      await reaches(run, 'cluster.connections.upstream_rq_pending_active', 1);
      overflowed(await run.get('/connections/3'));
      assert.equal(await gauge(run, 'connections', 'default.cx_open'), 1);
      assert.equal(await gauge(run, 'connections', 'default.rq_pending_open'), 1);
      assert.equal(await gauge(run, 'connections', 'default.rq_open'), 0);
      assert.equal(await gauge(run, 'connections', 'default.remaining_cx'), 0);
      assert.equal(await gauge(run, 'connections', 'default.remaining_pending'), 0);
      assert.equal((await first).status, 200);
      assert.equal((await second).status, 200);
      assert.equal(await gauge(run, 'connections', 'default.rq_pending_open'), 0);
      assert.equal(await gauge(run, 'connections', 'default.remaining_pending'), 1);
      assert.equal(await run.stat('cluster.connections.upstream_rq_pending_overflow'), 1);
      assert.equal(await run.stat('cluster.connections.upstream_cx_total'), 1);
      const lines = await run.lines('access.log', 3);
      assert.ok(
        lines.includes('/connections/3 503 UO upstream_reset_before_response_started{overflow}'),
        lines.join('\n'),
      );
    },
    'connections of one host': async (run) => {
      const first = slow(run, '/per_host/1');
      await reaches(run, 'cluster.per_host.upstream_rq_active', 1);
      const second = slow(run, '/per_host/2', 0);
      await reaches(run, 'cluster.per_host.upstream_rq_pending_active', 1);
      overflowed(await run.get('/per_host/3'));
      assert.equal((await first).status, 200);
      assert.equal((await second).status, 200);
      assert.equal(await run.stat('cluster.per_host.upstream_cx_total'), 1);
    },
    'requests, each priority by itself': async (run) => {
      const first = slow(run, '/requests/1');
      await reaches(run, 'cluster.requests.upstream_rq_active', 1);
      overflowed(await run.get('/requests/2'));
      assert.equal(await gauge(run, 'requests', 'default.rq_open'), 1);
      assert.equal(await gauge(run, 'requests', 'default.remaining_rq'), 0);
      assert.equal(await gauge(run, 'requests', 'high.rq_open'), 0);
      const high = [slow(run, '/requests/high/1'), slow(run, '/requests/high/2')];
      await reaches(run, 'cluster.requests.upstream_rq_active', 3);
      overflowed(await run.get('/requests/high/3'));
      assert.equal(await gauge(run, 'requests', 'high.rq_open'), 1);
      for (const answer of [first, ...high]) assert.equal((await answer).status, 200);
      assert.equal(await gauge(run, 'requests', 'default.rq_open'), 0);
    },
    'retries at a time': async (run) => {
      const headers = { 'x-want-status': '503' };
      const all = await Promise.all([1, 2, 3].map((i) => run.get(`/retries/${i}`, { headers })));
      assert.ok(all.every(({ status }) => status === 503));
      assert.equal(await run.stat('cluster.retries.upstream_rq_retry'), 1);
      assert.equal(await run.stat('cluster.retries.upstream_rq_retry_overflow'), 2);
      const lines = await run.lines('access.log', 12);
      assert.equal(lines.filter((line) => line.startsWith('/retries/') && line.includes(' UO ')).length, 2);
    },
    'a retry budget takes the place of the limit': async (run) => {
      const headers = { 'x-want-status': '503' };
      await Promise.all([1, 2, 3, 4].map((i) => run.get(`/budget/${i}`, { headers })));
      const retries = await run.stat('cluster.budget.upstream_rq_retry');
      assert.equal(retries, 2);
      assert.equal(await run.stat('cluster.budget.upstream_rq_retry_overflow'), 2);
    },
    'a retry budget over an interval': async (run) => {
      for (let i = 0; i < 8; i++) await run.get('/budget_interval');
      const headers = { 'x-want-status': '503' };
      await Promise.all([1, 2, 3, 4, 5, 6].map((i) => run.get(`/budget_interval/${i}`, { headers })));
      assert.equal(await run.stat('cluster.budget_interval.upstream_rq_retry'), 6);
    },
    'requests per connection': async (run) => {
      const before = run.backend('app').connections;
      for (let i = 0; i < 3; i++) assert.equal((await run.get('/once')).status, 200);
      assert.equal(run.backend('app').connections - before, 3);
      assert.equal(await run.stat('cluster.once.upstream_cx_max_requests'), 3);
    },
    'idle connections and old connections close': async (run) => {
      assert.equal((await run.get('/short')).status, 200);
      await reaches(run, 'cluster.short.upstream_cx_idle_timeout', 1);
      const end = performance.now() + 700;
      while (performance.now() < end) {
        assert.equal((await run.get('/short')).status, 200);
        await later(50);
      }
      assert.ok((await run.stat('cluster.short.upstream_cx_max_duration_reached')) >= 1);
      await reaches(run, 'cluster.short.upstream_cx_active', 0);
    },
  },
});
