/** Local rate limits (envoy.extensions.filters.http.local_ratelimit.v3): buckets, descriptors, signals, trial runs. */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { conformance, type Run } from '../harness/conformance.ts';
import type { Answer } from '../harness/http_request.ts';

type Headers = Readonly<Record<string, string>>;

async function statuses(run: Run, path: string, count: number, headers: Headers = {}): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < count; i++) found.push((await run.get(path, { headers })).status);
  return found;
}

async function stats(run: Run, prefix: string): Promise<number[]> {
  const read = (name: string): Promise<number> => run.stat(`${prefix}.http_local_rate_limit.${name}`);
  return Promise.all(['enabled', 'ok', 'rate_limited', 'enforced'].map(read));
}

function limits({ headers }: Answer): (string | string[] | undefined)[] {
  return ['limit', 'remaining', 'reset'].map((name) => headers[`x-ratelimit-${name}`]);
}

/** Statuses of requests on one connection. */
async function onOneConnection(port: number, path: string, count: number): Promise<(number | undefined)[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const found: (number | undefined)[] = [];
  for (let i = 0; i < count; i++) {
    found.push(
      await new Promise((resolve, reject) => {
        request({ host: '127.0.0.1', port, path, agent }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode));
        })
          .on('error', reject)
          .end();
      }),
    );
  }
  agent.destroy();
  return found;
}

const gold = { 'x-user': 'gold' };
const tenant = { 'x-user': 'u', 'x-tenant': 'a' };
const grpc = { method: 'POST', headers: { 'content-type': 'application/grpc' } };

conformance(import.meta.filename, {
  rows: ['6.1', '6.2', '6.4', '6.8'],
  cases: {
    'a bucket of the filter, and one of a route': async (run) => {
      assert.deepEqual(await statuses(run, '/else', 3), [200, 200, 429]);
      assert.deepEqual(await statuses(run, '/basic', 3), [200, 200, 429]);
      const answer = await run.get('/basic');
      assert.equal(answer.body, 'local_rate_limited');
      assert.equal(answer.headers['content-type'], 'text/plain');
      assert.equal(answer.headers['x-ratelimit-limit'], undefined);
      assert.equal(answer.headers['x-envoy-ratelimited'], undefined);
      assert.deepEqual(await stats(run, 'basic'), [4, 2, 2, 2]);
      assert.deepEqual(await stats(run, 'whole'), [3, 2, 1, 1]);
      const lines = await run.lines('access.log', 7);
      assert.equal(lines.at(-1), '/basic 429 RL local_rate_limited');
      const page = await run.admin('/stats/prometheus?filter=basic');
      assert.match(
        page.body,
        /^envoy_http_local_rate_limit_rate_limited\{envoy_local_http_ratelimit_prefix="basic"\} 2$/m,
      );
    },
    'status and headers of the answer': async (run) => {
      assert.equal((await run.get('/own_status')).headers['x-local-rate-limit'], undefined);
      const answer = await run.get('/own_status');
      assert.equal(answer.status, 503);
      assert.equal(answer.headers['x-local-rate-limit'], 'true');
      assert.equal(answer.headers['x-peer'], '127.0.0.1');
      assert.equal(answer.headers['retry-after'], undefined);
      // Less than 400 is no refusal.
      assert.deepEqual(await statuses(run, '/low_status', 2), [200, 429]);
      await run.get('/retry_after');
      assert.equal((await run.get('/retry_after')).headers['retry-after'], '60');
    },
    'a trial run counts and marks, but lets pass': async (run) => {
      assert.equal((await run.get('/dry')).echo().headers['x-would-limit'], undefined);
      assert.equal((await run.get('/dry')).echo().headers['x-would-limit'], 'yes');
      assert.deepEqual(await stats(run, 'dry'), [2, 1, 1, 0]);
      assert.deepEqual(await statuses(run, '/off', 2), [200, 200]);
      assert.deepEqual(await stats(run, 'switched_off'), [0, 0, 0, 0]);
    },
    'x-ratelimit headers': async (run) => {
      assert.deepEqual(limits(await run.get('/headers')), ['3', '2', '0']);
      assert.deepEqual(limits(await run.get('/headers')), ['3', '1', '0']);
      assert.deepEqual(limits(await run.get('/headers')), ['3', '0', '20']);
      const refused = await run.get('/headers');
      assert.deepEqual([refused.status, ...limits(refused)], [429, '3', '0', '20']);
    },
    'gRPC requests': async (run) => {
      await run.get('/grpc', grpc);
      const exhausted = await run.get('/grpc', grpc);
      assert.equal(exhausted.status, 200);
      assert.equal(exhausted.headers['grpc-status'], '8');
      assert.equal(exhausted.headers['grpc-message'], 'local_rate_limited');
      await run.get('/grpc_plain', grpc);
      assert.equal((await run.get('/grpc_plain', grpc)).headers['grpc-status'], '14');
    },
    'a bucket fills as time passes': async (run) => {
      assert.deepEqual(await statuses(run, '/refill', 2), [200, 429]);
      await sleep(450);
      assert.deepEqual(await statuses(run, '/refill', 2), [200, 429]);
    },
    'a bucket for each connection': async (run) => {
      assert.deepEqual(await onOneConnection(run.port('in'), '/connection', 3), [200, 429, 429]);
      assert.deepEqual(await onOneConnection(run.port('in'), '/connection', 2), [200, 429]);
    },
    'descriptors have their own buckets': async (run) => {
      const bronze = { 'x-user': 'bronze' };
      assert.deepEqual(await statuses(run, '/user', 2, bronze), [200, 429]);
      assert.deepEqual(limits(await run.get('/user', { headers: bronze })), ['1', '0', '3600']);
      assert.deepEqual(limits(await run.get('/user', { headers: gold })), ['4', '3', '0']);
      // Every request that passes also takes a token of the default bucket.
      assert.deepEqual(limits(await run.get('/user', { headers: { 'x-user': 'other' } })), ['8', '5', '0']);
      assert.deepEqual(await statuses(run, '/user', 4, gold), [200, 200, 200, 429]);
      assert.deepEqual(await statuses(run, '/only_descriptors', 4, gold), [200, 200, 200, 429]);
      assert.deepEqual(await statuses(run, '/only_descriptors', 2), [200, 429]);
      assert.deepEqual(limits(await run.get('/two', { headers: gold })), ['3', '2', '0']);
      assert.deepEqual(await statuses(run, '/two', 3, gold), [200, 200, 429]);
    },
    'an open value has a bucket for each value': async (run) => {
      for (const user of ['a', 'b'])
        assert.deepEqual(await statuses(run, '/any', 2, { 'x-user': user }), [200, 429]);
      assert.deepEqual(await statuses(run, '/any', 2), [200, 200]);
    },
    'stages and policies of the virtual host': async (run) => {
      assert.deepEqual(await statuses(run, '/stage1', 2, gold), [200, 429]);
      assert.deepEqual(await statuses(run, '/host_policy', 2, tenant), [200, 429]);
      assert.deepEqual(await statuses(run, '/host_ignored', 2, tenant), [200, 200]);
      assert.deepEqual(await statuses(run, '/host_overridden', 2, tenant), [200, 200]);
      assert.deepEqual(await statuses(run, '/host_included', 2, tenant), [200, 429]);
    },
    'rate_limits of the filter itself, hits_addend, shadow_mode': async (run) => {
      assert.deepEqual(await statuses(run, '/inline', 3), [200, 200, 429]);
      assert.deepEqual(await statuses(run, '/shadow', 2, gold), [200, 200]);
      assert.deepEqual(await stats(run, 'shadow'), [2, 1, 1, 0]);
      assert.equal(await run.stat('shadow.http_local_rate_limit.shadow_mode'), 1);
    },
  },
});
