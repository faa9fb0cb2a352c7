/** Subsets by metadata (Envoy cluster.v3.Cluster.LbSubsetConfig and load_balancing_policies.subset). */
import assert from 'node:assert/strict';
import { type Run, conformance } from '../harness/conformance.ts';

/** The applications that answer twelve requests, or the status of what is refused. */
async function reached(run: Run, path: string, cluster: string): Promise<string> {
  const found = new Set<string>();
  for (let i = 0; i < 12; i++) {
    const answer = await run.get(path, { headers: { cluster } });
    found.add(answer.status === 200 ? answer.echo().backend : String(answer.status));
  }
  return [...found].toSorted().join(' ');
}

const all = 'one three two';

conformance(import.meta.filename, {
  rows: ['5.32', '5.33'],
  backends: ['one', 'two', 'three'],
  cases: {
    'the hosts of a subset, and nothing else without fallback': async (run) => {
      assert.equal(await reached(run, '/v1', 'none'), 'one two');
      assert.equal(await reached(run, '/v2', 'none'), 'three');
      assert.equal(await reached(run, '/prod_v1', 'none'), 'one');
      assert.equal(await reached(run, '/v9', 'none'), '503');
      assert.equal(await reached(run, '/unknown_key', 'none'), '503');
      assert.equal(await reached(run, '/', 'none'), '503');
      assert.equal(await reached(run, '/weighted', ''), 'three');
    },
    'the number of subsets and choices': async (run) => {
      // v1, v2 and three pairs of version and stage, in each thread that balances.
      const active = await run.stat('cluster.none.lb_subsets_active');
      assert.ok(active > 0 && active % 5 === 0, String(active));
      assert.equal(await run.stat('cluster.none.lb_subsets_created'), active);
      const before = await run.stat('cluster.none.lb_subsets_selected');
      await reached(run, '/v1', 'none');
      assert.equal((await run.stat('cluster.none.lb_subsets_selected')) - before, 12);
    },
    'any endpoint as fallback': async (run) => {
      assert.equal(await reached(run, '/v9', 'any'), all);
      assert.equal(await reached(run, '/', 'any'), all);
      assert.equal(await reached(run, '/v2', 'any'), 'three');
      assert.equal(await run.stat('cluster.any.lb_subsets_fallback'), 24);
    },
    'a default subset as fallback': async (run) => {
      assert.equal(await reached(run, '/v9', 'default'), 'one');
      assert.equal(await reached(run, '/', 'default'), 'one');
      assert.equal(await reached(run, '/v2', 'default'), 'three');
    },
    'any endpoint when the default subset is empty': async (run) => {
      assert.equal(await reached(run, '/', 'default_missing'), all);
      assert.equal(await run.stat('cluster.default_missing.lb_subsets_fallback_panic'), 12);
    },
    'a selector has its own fallback': async (run) => {
      assert.equal(await reached(run, '/v9', 'selectors'), '503');
      assert.equal(await reached(run, '/test_v9', 'selectors'), 'three two');
      assert.equal(await reached(run, '/unknown_key', 'selectors'), all);
    },
    'a list of fallbacks in the metadata of the route': async (run) => {
      assert.equal(await reached(run, '/list', 'list'), 'three');
      assert.equal(await reached(run, '/v1', 'list'), 'one two');
    },
    'one host per subset': async (run) => {
      assert.equal(await reached(run, '/v1', 'single'), 'one');
      assert.equal(await reached(run, '/v2', 'single'), 'two');
    },
    'as a load balancing policy': async (run) => {
      assert.equal(await reached(run, '/v1', 'policy'), 'one two');
      assert.equal(await reached(run, '/v9', 'policy'), all);
    },
  },
});
