/** `drop_overloads`: a share of the requests is answered without a host. */
import assert from 'node:assert/strict';
import { conformance } from '../harness/conformance.ts';

conformance(import.meta.filename, {
  rows: ['6.9'],
  cases: {
    'everything is dropped': async (run) => {
      const answer = await run.get('/all');
      assert.equal(answer.status, 503);
      assert.equal(answer.body, 'unconditional drop overload');
      assert.equal(answer.headers['x-envoy-unconditional-drop-overload'], 'true');
      assert.equal(await run.stat('cluster.all.upstream_rq_503'), 1);
      assert.equal(await run.stat('cluster.all.upstream_rq_total'), 0);
      assert.deepEqual(await run.lines('access.log', 1), [
        '503 UDO UnconditionalDropOverload unconditional_drop_overload',
      ]);
    },
    'half is dropped': async (run) => {
      let dropped = 0;
      for (let i = 0; i < 60; i++) {
        const answer = await run.get('/half');
        if (answer.status === 200) continue;
        dropped++;
        assert.equal(answer.status, 503);
        assert.equal(answer.body, 'drop overload');
        assert.equal(answer.headers['x-envoy-drop-overload'], 'true');
      }
      // Less likely than one in a hundred million outside these bounds.
      assert.ok(dropped >= 8 && dropped <= 52, `${dropped} of 60`);
      const log = (await run.lines('access.log', 61)).filter((line) => line.startsWith('503 DO'));
      assert.equal(log.length, dropped);
      assert.equal(log[0], '503 DO DropOverload drop_overload');
    },
  },
});
