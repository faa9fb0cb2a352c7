/** Direct responses (Envoy route.v3.DirectResponseAction). */
import assert from 'node:assert/strict';
import { conformance } from '../harness/conformance.ts';

conformance(import.meta.filename, {
  rows: ['5.14'],
  cases: {
    'status and body of the route': async (run) => {
      const answer = await run.get('/teapot');
      assert.equal(answer.status, 418);
      assert.equal(answer.body, 'short and stout');
      assert.equal(answer.headers['content-type'], 'text/plain');
      assert.equal(answer.headers['content-length'], '15');
      assert.equal(run.backend('app').requests, 0);
    },
    'no body when none is given': async (run) => {
      const answer = await run.get('/gone/away');
      assert.equal(answer.status, 410);
      assert.equal(answer.body, '');
      assert.equal(answer.headers['content-type'], undefined);
    },
    'other paths reach the application': async (run) => {
      const answer = await run.get('/else?x=1');
      assert.equal(answer.status, 200);
      assert.equal(answer.echo().path, '/else?x=1');
      assert.equal(await run.stat('cluster.app.upstream_rq_total'), 1);
    },
  },
});
