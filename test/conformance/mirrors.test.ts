/** Mirrored requests (request_mirror_policies). */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';

/** Copies at the applications `two` and `three` since a call before; waits until there are `expected`, or a while for none. */
async function copies(run: Run, work: () => Promise<unknown>, expected: readonly [number, number]) {
  const two = run.backend('two').requests;
  const three = run.backend('three').requests;
  await work();
  const count = (): [number, number] => [
    run.backend('two').requests - two,
    run.backend('three').requests - three,
  ];
  const end = performance.now() + (expected[0] + expected[1] === 0 ? 100 : 3000);
  while (performance.now() < end && (count()[0] < expected[0] || count()[1] < expected[1]))
    await new Promise((resolve) => setTimeout(resolve, 10));
  return count();
}

conformance(import.meta.filename, {
  rows: ['5.23'],
  backends: ['app', 'two', 'three'],
  cases: {
    'one, several, those of the virtual host': async (run) => {
      assert.deepEqual(await copies(run, () => run.get('/one'), [1, 0]), [1, 0]);
      assert.deepEqual(await copies(run, () => run.get('/several'), [1, 1]), [1, 1]);
      assert.deepEqual(await copies(run, () => run.get('/inherits'), [0, 1]), [0, 1]);
    },
    'the answer is that of the first cluster, whatever the mirror says': async (run) => {
      const answer = await run.get('/one', { headers: { 'x-want-status-two': '500' } });
      assert.deepEqual([answer.status, answer.echo().backend], [200, 'app']);
      const reset = await run.get('/several', { headers: { 'x-want-delay-ms': '50' } });
      assert.equal(reset.status, 200);
    },
    'what the copy looks like': async (run) => {
      const seen = async (path: string, headers: Record<string, string> = {}) => {
        run.backend('two').forgetEchoes();
        await run.get(path, {
          method: 'POST',
          body: 'the body',
          headers: { host: 'shop.example:81', ...headers },
        });
        return run.backend('two').nextEcho();
      };
      const one = await seen('/one?q=1');
      assert.deepEqual([one.method, one.path, one.body], ['POST', '/one?q=1', 'the body']);
      assert.equal(one.headers['host'], 'shop.example-shadow:81');
      assert.equal(one.headers['x-rule'], 'applied');
      assert.equal((await seen('/several')).headers['host'], 'shop.example:81');
      assert.equal((await seen('/host')).headers['host'], 'mirror.example');
      const mutated = await seen('/mutated', { 'x-gone': '1', 'x-who': 'me' });
      assert.deepEqual([mutated.headers['x-gone'], mutated.headers['x-new']], [undefined, 'for me']);
    },
    'a share of requests, and runtime keys': async (run) => {
      assert.deepEqual(await copies(run, () => run.get('/never'), [0, 0]), [0, 0]);
      await run.admin('/runtime_modify?mirror.two=100', 'POST');
      assert.deepEqual(await copies(run, () => run.get('/never'), [1, 0]), [1, 0]);
      await run.admin('/runtime_modify?mirror.two=', 'POST');
      const half = await copies(run, async () => {
        for (let i = 0; i < 100; i++) await run.get('/part');
      }, [75, 0]);
      assert.ok(half[0] > 25 && half[0] < 75, String(half[0]));
    },
    'the cluster by header': async (run) => {
      const ask = (cluster: string) => () => run.get('/header', { headers: { 'x-mirror': cluster } });
      assert.deepEqual(await copies(run, ask('two'), [1, 0]), [1, 0]);
      assert.deepEqual(await copies(run, ask('three'), [0, 1]), [0, 1]);
      assert.deepEqual(await copies(run, ask('nowhere'), [0, 0]), [0, 0]);
      assert.deepEqual(await copies(run, () => run.get('/header'), [0, 0]), [0, 0]);
    },
    'twice to one cluster, after rewrites': async (run) => {
      assert.deepEqual(await copies(run, () => run.get('/nowhere/x'), [2, 0]), [2, 0]);
    },
  },
});
