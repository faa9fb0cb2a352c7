/** Subsets for TCP: the filter's metadata and that of a weighted cluster. */
import assert from 'node:assert/strict';
import { type Run, conformance } from '../harness/conformance.ts';
import { send } from '../harness/http_request.ts';

async function backends(run: Run, port: string): Promise<string[]> {
  const seen = new Set<string>();
  for (let i = 0; i < 6; i++) seen.add((await send(run.port(port), '/')).echo().backend);
  return [...seen];
}

conformance(import.meta.filename, {
  rows: ['5.5', '6.8'],
  backends: ['one', 'two'],
  cases: {
    'the filter names a subset': async (run) => {
      assert.deepEqual(await backends(run, 'in'), ['one']);
      assert.deepEqual(await backends(run, 'second'), ['two']);
    },
    'a weighted cluster has the last word': async (run) =>
      assert.deepEqual(await backends(run, 'weighted'), ['two']),
    'a subset without hosts closes the connection': async (run) => {
      await assert.rejects(send(run.port('nobody'), '/'));
      assert.equal(await run.stat('cluster.app.upstream_cx_none_healthy'), 1);
    },
  },
});
