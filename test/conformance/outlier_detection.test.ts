/** Outlier detection (Envoy cluster.v3.OutlierDetection): all modes that a mesh sets, gauges and the event log. */
import assert from 'node:assert/strict';
import { type Run, conformance } from '../harness/conformance.ts';

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function ejections(run: Run, cluster: string, name: string): Promise<number> {
  return run.stat(`cluster.${cluster}.outlier_detection.ejections_${name}`);
}

async function ask(run: Run, cluster: string, status = 200): Promise<number> {
  const headers = { cluster, ...(status === 200 ? {} : { 'x-want-status': String(status) }) };
  return (await run.get('/', { headers })).status;
}

/** Requests to each host in turn; the application of that name answers 500, the others 200. */
async function failOn(run: Run, cluster: string, failing: string, rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++)
    await run.get('/', { headers: { cluster, [`x-want-status-${failing}`]: '500' } });
}

async function reaches(read: () => Promise<number>, value: number, what: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if ((await read()) === value) return;
    await later(20);
  }
  assert.equal(await read(), value, what);
}

async function events(run: Run, cluster: string, count: number): Promise<Record<string, unknown>[]> {
  for (let i = 0; ; i++) {
    const found = (await run.lines('outlier.log', 1))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((event) => event['cluster_name'] === cluster);
    if (found.length >= count || i === 100) return found;
    await later(20);
  }
}

/** Events without what differs from run to run. */
function plain(event: Record<string, unknown> | undefined): unknown {
  const { timestamp, secs_since_last_action: _, upstream_url, ...rest } = event ?? {};
  assert.match(String(timestamp), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.match(String(upstream_url), /^127\.0\.0\.1:\d+$/);
  return rest;
}

conformance(import.meta.filename, {
  rows: ['6.10', '6.12'],
  backends: ['one', 'two', 'three'],
  cases: {
    'failures in a row eject a host, time brings it back': async (run) => {
      const health = async (): Promise<string[]> =>
        (await run.admin('/clusters')).body
          .split('\n')
          .filter((line) => line.startsWith('consecutive::') && line.includes('::health_flags::'))
          .map((line) => line.slice(line.lastIndexOf('::') + 2));
      assert.deepEqual(await health(), ['healthy', 'healthy']);
      for (let i = 0; i < 6; i++) await ask(run, 'consecutive', 500);
      // The second host would be the second half: one more than the bound.
      assert.equal(await ejections(run, 'consecutive', 'active'), 1);
      assert.deepEqual((await health()).toSorted(), ['/failed_outlier_check', 'healthy']);
      assert.equal(await run.stat('cluster.consecutive.membership_healthy'), 1);
      assert.equal(await run.stat('cluster.consecutive.membership_total'), 2);
      assert.equal(await ejections(run, 'consecutive', 'enforced_total'), 1);
      assert.equal(await ejections(run, 'consecutive', 'enforced_consecutive_5xx'), 1);
      assert.equal(await ejections(run, 'consecutive', 'detected_consecutive_5xx'), 2);
      assert.equal(await ejections(run, 'consecutive', 'overflow'), 1);
      const before = run.backend('one').requests;
      const other = run.backend('two').requests;
      for (let i = 0; i < 4; i++) assert.equal(await ask(run, 'consecutive'), 200);
      const served = [run.backend('one').requests - before, run.backend('two').requests - other];
      assert.deepEqual(served.toSorted(), [0, 4]);
      await reaches(() => ejections(run, 'consecutive', 'active'), 0, 'the host is back');
      assert.deepEqual(await health(), ['healthy', 'healthy']);
      const [out, back] = await events(run, 'consecutive', 2);
      assert.deepEqual(plain(out), {
        type: 'CONSECUTIVE_5XX',
        cluster_name: 'consecutive',
        action: 'EJECT',
        num_ejections: 1,
        enforced: true,
        eject_consecutive_event: {},
      });
      assert.deepEqual(plain(back), {
        type: 'CONSECUTIVE_5XX',
        cluster_name: 'consecutive',
        action: 'UNEJECT',
        num_ejections: 1,
        enforced: false,
      });
    },
    'gateway failures in a row': async (run) => {
      await ask(run, 'gateway', 503);
      await ask(run, 'gateway', 500);
      await ask(run, 'gateway', 504);
      assert.equal(await ejections(run, 'gateway', 'active'), 0);
      await ask(run, 'gateway', 502);
      assert.equal(await ejections(run, 'gateway', 'active'), 1);
      assert.equal(await ejections(run, 'gateway', 'enforced_consecutive_gateway_failure'), 1);
      assert.equal(await ejections(run, 'gateway', 'detected_consecutive_5xx'), 0);
      // Panic: the only host is used all the same.
      assert.equal(await ask(run, 'gateway'), 200);
      assert.ok((await run.stat('cluster.gateway.lb_healthy_panic')) >= 1);
    },
    'what is not enforced is counted and written down': async (run) => {
      for (let i = 0; i < 2; i++) await ask(run, 'not_enforced', 500);
      assert.equal(await ejections(run, 'not_enforced', 'detected_consecutive_5xx'), 1);
      assert.equal(await ejections(run, 'not_enforced', 'enforced_total'), 0);
      assert.equal(await ejections(run, 'not_enforced', 'active'), 0);
      const [event] = await events(run, 'not_enforced', 1);
      assert.deepEqual(plain(event), {
        type: 'CONSECUTIVE_5XX',
        cluster_name: 'not_enforced',
        action: 'EJECT',
        num_ejections: 0,
        enforced: false,
        eject_consecutive_event: {},
      });
    },
    'no more hosts than the bound': async (run) => {
      for (let i = 0; i < 6; i++) await ask(run, 'bound', 500);
      assert.equal(await ejections(run, 'bound', 'active'), 1);
      assert.ok((await ejections(run, 'bound', 'overflow')) >= 1);
    },
    'failures of our own, counted apart': async (run) => {
      for (let i = 0; i < 2; i++) assert.equal(await ask(run, 'local_origin'), 503);
      assert.equal(await ejections(run, 'local_origin', 'active'), 1);
      assert.equal(await ejections(run, 'local_origin', 'enforced_consecutive_local_origin_failure'), 1);
      const [event] = await events(run, 'local_origin', 1);
      assert.equal(event?.['type'], 'CONSECUTIVE_LOCAL_ORIGIN_FAILURE');
    },
    'failures of our own count as 5xx without the split': async (run) => {
      for (let i = 0; i < 2; i++) assert.equal(await ask(run, 'connect_failures'), 503);
      assert.equal(await ejections(run, 'connect_failures', 'enforced_consecutive_5xx'), 1);
      const answer = await run.get('/', { headers: { cluster: 'connect_failures' } });
      assert.equal(answer.body, 'no healthy upstream');
    },
    'a success rate far below the others': async (run) => {
      await failOn(run, 'success_rate', 'two', 30);
      await reaches(() => ejections(run, 'success_rate', 'active'), 1, 'ejected');
      assert.equal(await ejections(run, 'success_rate', 'enforced_success_rate'), 1);
      const [event] = await events(run, 'success_rate', 1);
      assert.deepEqual(Object.keys((event?.['eject_success_rate_event'] ?? {}) as object).toSorted(), [
        'cluster_average_success_rate',
        'cluster_success_rate_ejection_threshold',
        'host_success_rate',
      ]);
    },
    'a share of failures above the threshold': async (run) => {
      await failOn(run, 'failure_percentage', 'three', 30);
      await reaches(() => ejections(run, 'failure_percentage', 'active'), 1, 'ejected');
      assert.equal(await ejections(run, 'failure_percentage', 'enforced_failure_percentage'), 1);
      assert.equal(await ejections(run, 'failure_percentage', 'enforced_success_rate'), 0);
      const [event] = (await events(run, 'failure_percentage', 1)).filter(
        ({ type }) => type === 'FAILURE_PERCENTAGE',
      );
      assert.deepEqual(Object.keys((event?.['eject_failure_percentage_event'] ?? {}) as object), [
        'host_success_rate',
      ]);
    },
    'a host that says it is degraded is taken last for a while': async (run) => {
      const health = async (): Promise<string[]> =>
        (await run.admin('/clusters')).body
          .split('\n')
          .filter((line) => line.startsWith('degraded::') && line.includes('::health_flags::'))
          .map((line) => line.slice(line.lastIndexOf('::') + 2))
          .toSorted();
      const says = { cluster: 'degraded', 'x-want-header': 'x-envoy-degraded: false' };
      assert.equal((await run.get('/', { headers: { ...says, 'x-want-status': '404' } })).status, 404);
      assert.deepEqual(await health(), ['/degraded_outlier_detection', 'healthy']);
      assert.equal(await ejections(run, 'degraded', 'detected_degradation'), 1);
      assert.equal(await run.stat('cluster.degraded.membership_degraded'), 1);
      // Three in ten go to the degraded host: half of the hosts are enough for seven.
      for (let i = 0; i < 30 && (await ejections(run, 'degraded', 'detected_degradation')) < 2; i++)
        await run.get('/', { headers: says });
      // The bound on ejections does not hold for what stays in use.
      assert.deepEqual(await health(), ['/degraded_outlier_detection', '/degraded_outlier_detection']);
      assert.equal(await ask(run, 'degraded'), 200);
      await reaches(() => run.stat('cluster.degraded.membership_degraded'), 0, 'both are back');
      assert.equal(await ejections(run, 'degraded', 'detected_degradation'), 2);
      assert.equal(await ejections(run, 'degraded', 'active'), 0);
      const [first, second, back] = await events(run, 'degraded', 4);
      const expected = { cluster_name: 'degraded', num_ejections: 0, eject_consecutive_event: {} };
      for (const event of [first, second])
        assert.deepEqual(plain(event), { type: 'DEGRADED', action: 'EJECT', enforced: true, ...expected });
      assert.deepEqual(plain(back), {
        type: 'CONSECUTIVE_5XX',
        cluster_name: 'degraded',
        action: 'UNEJECT',
        num_ejections: 0,
        enforced: false,
      });
      await run.get('/', { headers: { ...says, 'x-want-status': '500' } });
      assert.deepEqual(await health(), ['/failed_outlier_check', 'healthy'], 'a failure is a failure');
    },
  },
});
