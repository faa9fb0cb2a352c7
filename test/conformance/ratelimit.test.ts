/** The global rate limit (envoy.extensions.filters.http.ratelimit.v3) with one service for both data planes; all actions. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { conformance, type Run } from '../harness/conformance.ts';
import { type Answer, type RequestOptions, send } from '../harness/http_request.ts';
import { RlsService } from '../harness/rls_service.ts';

let service: RlsService;

function ask(run: Run, listener: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  service.take();
  return send(run.port(listener), path, options);
}

function as(user: string): RequestOptions {
  return { headers: { 'x-user': user } };
}

function limits({ headers }: Answer): (string | string[] | undefined)[] {
  return ['limit', 'remaining', 'reset'].map((name) => headers[`x-ratelimit-${name}`]);
}

/** A path with headers, and the descriptors that the service is asked about. */
type ActionCase = readonly [path: string, headers: Readonly<Record<string, string>>, asked: string[][]];

const actions: readonly ActionCase[] = [
  ['/user', { 'x-user': 'u' }, [['user=u']]],
  ['/user', {}, []],
  ['/both', { 'x-user': 'u' }, [['user=u', 'generic_key=second']]],
  ['/skipped', {}, []],
  ['/optional', {}, [['generic_key=always']]],
  ['/cluster', {}, [['source_cluster=front destination_cluster=app']]],
  ['/address', {}, [['remote_address=127.0.0.1', 'masked_remote_address=127.0.0.0/16']]],
  ['/query?q=a%20b&q=c', {}, [['query=a b']]],
  ['/query', {}, []],
  ['/match?mode=fast', { 'x-beta': '1' }, [['header_match=beta', 'query_match=fast']]],
  ['/match?mode=slow', {}, [['k=no beta']]],
  ['/key', {}, [['named=value']]],
  ['/cel', { 'x-user': 'abc', 'x-beta': '1' }, [['method=GET size=3', 'beta=true', 'generic_key=rest']]],
  ['/cel', { 'x-beta': '2' }, [['beta=false', 'generic_key=rest']]],
  ['/metadata', {}, [['meta=gold', 'dynamic=none']]],
  ['/override', { 'x-user': 'u' }, [['user=u']]],
  ['/stage1', {}, []],
  ['/host', {}, [['generic_key=host']]],
  ['/host_too', { 'x-user': 'u' }, [['user=u', 'generic_key=host']]],
  ['/host_included', { 'x-user': 'u' }, [['user=u', 'generic_key=host']]],
  ['/host_overridden', { 'x-user': 'u' }, [['user=u']]],
  ['/own', { 'x-user': 'u' }, [['generic_key=own']]],
  ['/direct', {}, []],
];

conformance(import.meta.filename, {
  rows: ['6.3', '6.4', '6.5', '6.8'],
  async setUp() {
    service = await RlsService.start();
    return { RLS_PORT: String(service.port) };
  },
  tearDown: () => service.stop(),
  cases: {
    'a request within its limit': async (run) => {
      const answer = await ask(run, 'in', '/user', as('u'));
      assert.equal(answer.status, 200);
      assert.deepEqual(limits(answer), ['10, 10;w=60;name="first"', '7', '30']);
      assert.equal(answer.headers['x-rls-response'], 'r');
      assert.equal(answer.echo().headers['x-rls-request'], 'q');
      assert.equal(service.requests[0]?.domain, 'shop');
      assert.equal((await run.lines('in.log', 1))[0], '/user 200 - via_upstream {"seen":true}');
      const two = await ask(run, 'in', '/both', as('u'));
      assert.deepEqual(limits(two), ['20, 10;w=60;name="first", 20;w=1', '6', '30']);
    },
    'a request over its limit': async (run) => {
      const answer = await ask(run, 'in', '/user', as('over'));
      assert.equal(answer.status, 429);
      assert.equal(answer.body, 'slow down');
      assert.equal(answer.headers['x-envoy-ratelimited'], 'true');
      assert.equal(answer.headers['x-limited-by'], 'service');
      assert.equal(answer.headers['x-rls-response'], 'r');
      assert.equal(answer.headers['retry-after'], '30');
      assert.deepEqual(limits(answer), ['10, 10;w=60;name="first"', '0', '30']);
      assert.match((await run.lines('in.log', 3)).at(-1) ?? '', /^\/user 429 RL request_rate_limited /);
      const bare = await ask(run, 'in', '/user', as('bare_over'));
      assert.deepEqual([bare.status, bare.body, ...limits(bare)], [429, '', undefined, undefined, undefined]);
    },
    'other ways to refuse': async (run) => {
      const answer = await ask(run, 'strict', '/user', as('over'));
      assert.equal(answer.status, 503);
      assert.equal(answer.headers['x-envoy-ratelimited'], undefined);
      assert.equal(answer.headers['x-ratelimit-limit'], undefined);
      // Only 429 says when to come again.
      assert.equal(answer.headers['retry-after'], undefined);
      const call = { method: 'POST', headers: { 'x-user': 'over', 'content-type': 'application/grpc' } };
      assert.equal((await ask(run, 'strict', '/user', call)).headers['grpc-status'], '8');
      const plain = await ask(run, 'in', '/user', call);
      assert.deepEqual([plain.headers['grpc-status'], plain.headers['grpc-message']], ['14', 'slow down']);
    },
    'a service that fails or is late': async (run) => {
      for (const user of ['error', 'slow']) {
        assert.equal((await ask(run, 'in', '/user', as(user))).status, 200, user);
        assert.equal((await ask(run, 'strict', '/user', as(user))).status, 503, user);
      }
      assert.equal((await run.lines('strict.log', 4)).at(-1), '/user 503 RLSE rate_limiter_error -');
      assert.equal(await run.stat('cluster.app.ratelimit.error'), 4);
      assert.equal(await run.stat('cluster.app.ratelimit.failure_mode_allowed'), 2);
    },
    'all actions, stages, and policies of the virtual host': async (run) => {
      for (const [path, headers, asked] of actions) {
        assert.equal((await ask(run, 'in', path, { headers })).status, 200, path);
        assert.deepEqual(service.take(), asked, path);
      }
      await ask(run, 'staged', '/stage1');
      assert.deepEqual(service.take(), [['generic_key=staged']]);
    },
    'domain, hits and headers of a route’s own policies': async (run) => {
      const answer = await ask(run, 'in', '/own', as('u'));
      const [request] = service.requests;
      assert.equal(request?.domain, 'other');
      assert.equal(request?.descriptors[0]?.hitsAddend, 5n);
      assert.deepEqual(limits(answer), [undefined, undefined, undefined]);
      // Those of a plain route have no hits of their own.
      await ask(run, 'in', '/hits', as('u'));
      assert.equal(service.requests[0]?.descriptors[0]?.hitsAddend, undefined);
    },
    'a request counted when its response is complete': async (run) => {
      assert.equal((await ask(run, 'in', '/done')).status, 200);
      for (let i = 0; i < 100 && service.requests.length === 0; i++) await sleep(10);
      assert.deepEqual(service.take(), [['generic_key=done']]);
    },
    'only requests from outside, and trial runs': async (run) => {
      assert.equal((await ask(run, 'outside', '/user', as('over'))).status, 429);
      const inside = { headers: { 'x-user': 'over', 'x-forwarded-for': '10.1.1.1' } };
      assert.equal((await ask(run, 'outside', '/user', inside)).status, 200);
      const trial = await ask(run, 'trial', '/user', as('over'));
      assert.equal(trial.status, 200);
      assert.equal(trial.headers['x-envoy-ratelimited'], 'true');
      assert.equal(trial.echo().headers['x-rls-request'], 'q');
      assert.equal(await run.stat('cluster.app.ratelimit.trial.over_limit'), 1);
    },
  },
});
