/** Fault injection. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import { type RequestOptions, send } from '../harness/http_request.ts';

async function ask(run: Run, path: string, headers: NonNullable<RequestOptions['headers']> = {}) {
  const { status, body } = await run.get(path, { headers });
  return status === 200 ? [status] : [status, body];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

const aborted = [418, 'fault filter abort'];

conformance(import.meta.filename, {
  rows: ['5.22'],
  cases: {
    aborts: async (run) => {
      assert.deepEqual(await ask(run, '/abort'), aborted);
      assert.deepEqual(await ask(run, '/never'), [200]);
      assert.deepEqual(await ask(run, '/most'), aborted);
      let hits = 0;
      for (let i = 0; i < 200; i++) if ((await ask(run, '/half'))[0] === 418) hits++;
      assert.ok(hits > 60 && hits < 140, String(hits));
      assert.ok((await run.stat('http.in.fault.aborts_injected')) >= hits + 2);
    },
    gRPC: async (run) => {
      const plain = await run.get('/grpc');
      assert.deepEqual([plain.status, plain.headers['grpc-status']], [200, undefined]);
      const call = (path: string) =>
        run.get(path, { method: 'POST', headers: { 'content-type': 'application/grpc' } });
      const refused = await call('/grpc');
      assert.deepEqual(
        [refused.status, refused.headers['grpc-status'], refused.headers['grpc-message']],
        [200, '14', 'fault filter abort'],
      );
      const http = await call('/abort');
      assert.deepEqual([http.status, http.headers['grpc-status']], [200, '2']);
    },
    delays: async (run) => {
      assert.ok((await timed(() => ask(run, '/delay'))) >= 190);
      assert.ok(
        (await timed(async () => assert.deepEqual(await ask(run, '/both'), [503, 'fault filter abort']))) >=
          190,
      );
      assert.ok((await run.stat('http.in.fault.delays_injected')) >= 2);
    },
    'only some requests': async (run) => {
      assert.deepEqual(await ask(run, '/headers'), [200]);
      assert.deepEqual(await ask(run, '/headers', { 'end-user': 'jason' }), aborted);
      assert.deepEqual(await ask(run, '/cluster'), [200]);
      assert.deepEqual(await ask(run, '/same-cluster'), aborted);
      assert.deepEqual(await ask(run, '/node'), [200]);
      assert.deepEqual(await ask(run, '/node', { 'x-envoy-downstream-service-node': 'somebody' }), aborted);
    },
    'only so many at a time': async (run) => {
      const [first, second] = await Promise.all([
        timed(() => ask(run, '/active')),
        new Promise((resolve) => setTimeout(resolve, 300)).then(() => timed(() => ask(run, '/active'))),
      ]);
      assert.ok(first >= 990, String(first));
      assert.ok(second < first, String(second));
      assert.ok((await run.stat('http.in.fault.faults_overflow')) >= 1);
    },
    'as headers ask': async (run) => {
      assert.deepEqual(await ask(run, '/by-header'), [200]);
      assert.deepEqual(await ask(run, '/by-header', { 'x-envoy-fault-abort-request': '429' }), [
        429,
        'fault filter abort',
      ]);
      assert.deepEqual(await ask(run, '/by-header', { 'x-envoy-fault-abort-request': '42' }), [200]);
      assert.deepEqual(
        await ask(run, '/by-header', {
          'x-envoy-fault-abort-request': '429',
          'x-envoy-fault-abort-request-percentage': '0',
        }),
        [200],
      );
      assert.deepEqual(
        await ask(run, '/part-header', {
          'x-envoy-fault-abort-request': '429',
          'x-envoy-fault-abort-request-percentage': '100',
        }),
        [200],
      );
      assert.ok((await timed(() => ask(run, '/by-header', { 'x-envoy-fault-delay-request': '250' }))) >= 240);
      const call = await run.get('/by-header', {
        method: 'POST',
        headers: { 'content-type': 'application/grpc', 'x-envoy-fault-abort-grpc-request': '5' },
      });
      assert.equal(call.headers['grpc-status'], '5');
    },
    'by runtime key': async (run) => {
      assert.deepEqual(await ask(run, '/runtime'), [200]);
      await run.admin('/runtime_modify?my.percent=100&my.status=409', 'POST');
      assert.deepEqual(await ask(run, '/runtime'), [409, 'fault filter abort']);
      await run.admin('/runtime_modify?my.percent=&my.status=&fault.http.abort.abort_percent=0', 'POST');
      assert.deepEqual(await ask(run, '/abort'), [200]);
      await run.admin(
        '/runtime_modify?fault.http.abort.abort_percent=&fault.http.abort.http_status=410',
        'POST',
      );
      assert.deepEqual(await ask(run, '/abort'), [410, 'fault filter abort']);
      await run.admin('/runtime_modify?fault.http.abort.http_status=', 'POST');
      assert.deepEqual(await ask(run, '/abort'), aborted);
    },
    'the fault of the filter, and routes without': async (run) => {
      const at = async (path: string): Promise<number> => (await send(run.port('own'), path)).status;
      assert.equal(await at('/'), 503);
      assert.equal(await at('/none'), 200);
      assert.equal(await at('/off'), 200);
    },
  },
});
