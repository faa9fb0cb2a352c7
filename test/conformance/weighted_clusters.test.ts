/** Clusters chosen by weight or by header, and what happens when a cluster is not there. */
import assert from 'node:assert/strict';
import { conformance } from '../harness/conformance.ts';

conformance(import.meta.filename, {
  rows: ['5.16'],
  backends: ['app', 'two'],
  cases: {
    'shares follow the weights': async (run) => {
      let one = 0;
      for (let i = 0; i < 400; i++) if ((await run.get('/split')).echo().backend === 'app') one++;
      assert.ok(one > 250 && one < 350, String(one));
    },
    'headers and host of each cluster': async (run) => {
      const met = new Set<string>();
      for (let i = 0; i < 200 && met.size < 2; i++) {
        const answer = await run.get('/split', {
          headers: { 'x-drop': '1', 'x-want-header': 'x-gone: 1', host: 'shop.example' },
        });
        const { backend, headers } = answer.echo();
        met.add(backend);
        const first = backend === 'app';
        // The rules of the cluster come first, then those of the route.
        assert.equal(headers['x-cluster'], `${first ? 'one' : 'two'}, route`);
        assert.equal(headers['x-drop'], first ? undefined : '1');
        assert.equal(headers['host'], first ? 'shop.example' : 'two.example');
        assert.equal(answer.headers['x-from'], first ? 'one' : 'two');
        assert.equal(answer.headers['x-gone'], first ? undefined : '1');
      }
      assert.equal(met.size, 2);
    },
    'no weight, no requests': async (run) => {
      for (let i = 0; i < 20; i++) assert.equal((await run.get('/zero')).echo().backend, 'two');
    },
    'the value of a header decides': async (run) => {
      const ask = async (value: string): Promise<string> =>
        (await run.get('/picked', { headers: { 'x-random': value } })).echo().backend;
      assert.equal(await ask('0'), 'app');
      assert.equal(await ask('29'), 'app');
      assert.equal(await ask('30'), 'two');
      assert.equal(await ask('99'), 'two');
      assert.equal(await ask('100'), 'app');
    },
    'weights by runtime key': async (run) => {
      assert.equal((await run.get('/runtime')).echo().backend, 'app');
      await run.admin('/runtime_modify?split.app=0&split.two=100', 'POST');
      for (let i = 0; i < 10; i++) assert.equal((await run.get('/runtime')).echo().backend, 'two');
      await run.admin('/runtime_modify?split.app=&split.two=', 'POST');
    },
    'the cluster by header': async (run) => {
      for (const path of ['/header', '/by-header']) {
        const ask = (cluster: string) => run.get(path, { headers: { 'x-target': cluster } });
        assert.equal((await ask('two')).echo().backend, 'two', path);
        assert.equal((await ask('app')).echo().backend, 'app', path);
        const missing = await ask('nowhere');
        assert.deepEqual([missing.status, missing.body], [503, ''], path);
      }
      assert.equal((await run.get('/header')).status, 503);
    },
    'clusters that are not there': async (run) => {
      assert.equal((await run.get('/none')).status, 503);
      assert.equal((await run.get('/gone')).status, 404);
      assert.equal((await run.get('/broken')).status, 500);
      assert.ok((await run.stat('http.in.no_cluster')) >= 3);
    },
  },
});
