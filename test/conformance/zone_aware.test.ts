/** Zone-aware routing (Envoy common_lb_config.zone_aware_lb_config). */
import assert from 'node:assert/strict';
import { type Run, conformance } from '../harness/conformance.ts';

const requests = 600;

/** Share of each application, in percent. */
async function shares(run: Run, cluster: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < requests; i += 10) {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => run.get('/', { headers: { cluster } })),
    );
    for (const answer of answers) {
      const name = answer.status === 200 ? answer.echo().backend : String(answer.status);
      counts[name] = (counts[name] ?? 0) + 100 / requests;
    }
  }
  return counts;
}

/** Five standard deviations of a share of a half are 10 points. */
function near(actual: Record<string, number>, expected: Record<string, number>): void {
  for (const name of new Set([...Object.keys(actual), ...Object.keys(expected)]))
    assert.ok(
      Math.abs((actual[name] ?? 0) - (expected[name] ?? 0)) <= 10,
      `${JSON.stringify(actual)} is not near ${JSON.stringify(expected)}`,
    );
}

conformance(import.meta.filename, {
  rows: ['5.34'],
  backends: ['one', 'two', 'three', 'four'],
  cases: {
    'all requests stay in the zone that has its share of hosts': async (run) => {
      near(await shares(run, 'direct'), { one: 50, two: 50 });
      assert.equal(await run.stat('cluster.direct.lb_zone_routing_all_directly'), requests);
    },
    'what the zone cannot take goes to the other': async (run) => {
      near(await shares(run, 'residual'), { one: 50, two: 50 / 3, three: 50 / 3, four: 50 / 3 });
      const sampled = await run.stat('cluster.residual.lb_zone_routing_sampled');
      const cross = await run.stat('cluster.residual.lb_zone_routing_cross_zone');
      assert.equal(sampled + cross, requests);
    },
    'a small cluster is balanced as a whole': async (run) => {
      near(await shares(run, 'small'), { one: 25, two: 25, three: 25, four: 25 });
      assert.ok((await run.stat('cluster.small.lb_zone_cluster_too_small')) >= 1);
    },
    'a part of the requests': async (run) => {
      near(await shares(run, 'half'), { one: 37.5, two: 20.8, three: 20.8, four: 20.8 });
    },
    'panic fails requests where that is asked for': async (run) => {
      near(await shares(run, 'panic'), { '503': 100 });
    },
    'the own zone by force, when it has enough hosts': async (run) => {
      near(await shares(run, 'forced'), { one: 100 });
      near(await shares(run, 'not_forced'), { one: 50, two: 50 / 3, three: 50 / 3, four: 50 / 3 });
    },
  },
});
