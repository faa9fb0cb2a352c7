/** Retries: every `retry_on` value, headers that ask for them, back-off, other hosts, priorities, budgets. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import type { RequestOptions } from '../harness/http_request.ts';

type Headers = NonNullable<RequestOptions['headers']>;

/** Status of the answer and how many attempts it took. */
async function attempts(run: Run, path: string, headers: Headers = {}, method = 'GET'): Promise<string> {
  const answer = await run.get(path, { headers, method });
  return `${answer.status} after ${answer.headers['x-envoy-attempt-count']}`;
}

const status = (code: number): Headers => ({ 'x-want-status': String(code) });
const reset: Headers = { 'x-want-reset': '1' };
const grpcStatus = (code: number): Headers => ({
  'content-type': 'application/grpc',
  'x-want-header': `grpc-status: ${code}`,
});

/** Requests under `/NAME/` that are tried three times, and those that are not. */
const reasons: Readonly<Record<string, readonly [again: readonly Headers[], once: readonly Headers[]]>> = {
  '5xx': [
    [status(500), status(503), status(599), reset],
    [status(404), status(200)],
  ],
  'gateway-error': [
    [status(502), status(503), status(504), reset],
    [status(500), status(505)],
  ],
  reset: [[reset], [status(503)]],
  'reset-before-request': [[], [reset, status(503)]],
  'connect-failure': [[], [reset, status(503)]],
  'retriable-4xx': [[status(409)], [status(404), status(500)]],
  'refused-stream': [[], [reset, status(503)]],
  'envoy-ratelimited': [
    [{ 'x-want-status': '429', 'x-want-header': 'x-envoy-ratelimited: true' }],
    [status(429)],
  ],
  cancelled: [[grpcStatus(1)], [grpcStatus(2), grpcStatus(0), status(503)]],
  'deadline-exceeded': [[grpcStatus(4)], [grpcStatus(14)]],
  'resource-exhausted': [[grpcStatus(8)], [grpcStatus(14)]],
  unavailable: [[grpcStatus(14)], [grpcStatus(13)]],
  internal: [[grpcStatus(13)], [grpcStatus(14)]],
  codes: [[status(418), status(200)], [status(503)]],
  headers: [[{ 'x-want-header': 'x-again: yes' }], [{ 'x-want-header': 'x-again: no' }, status(503)]],
  list: [[status(503), status(409)], [status(500)]],
};

conformance(import.meta.filename, {
  rows: ['5.21'],
  backends: ['app', 'two'],
  cases: {
    reasons: async (run) => {
      for (const [name, [again, once]] of Object.entries(reasons)) {
        for (const headers of again)
          assert.match(
            await attempts(run, `/${name}/`, headers),
            / after 3$/,
            `${name} ${JSON.stringify(headers)}`,
          );
        for (const headers of once)
          assert.match(
            await attempts(run, `/${name}/`, headers),
            / after 1$/,
            `${name} ${JSON.stringify(headers)}`,
          );
      }
    },
    'success after failures': async (run) => {
      const retried = await run.stat('cluster.app.upstream_rq_retry');
      const succeeded = await run.stat('cluster.app.upstream_rq_retry_success');
      assert.equal(await attempts(run, '/5xx/first', { 'x-want-fail-first': '2' }), '200 after 3');
      assert.equal(await run.stat('cluster.app.upstream_rq_retry'), retried + 2);
      assert.equal(await run.stat('cluster.app.upstream_rq_retry_success'), succeeded + 1);
    },
    'the body goes with every attempt': async (run) => {
      const answer = await run.get('/5xx/body', {
        method: 'POST',
        body: 'again',
        headers: { 'x-want-fail-first': '2' },
      });
      const echo = answer.echo();
      assert.deepEqual(
        [answer.status, echo.body, echo.headers['x-envoy-attempt-count']],
        [200, 'again', '3'],
      );
    },
    'how many': async (run) => {
      assert.equal(await attempts(run, '/default/', status(503)), '503 after 2');
      assert.equal(await attempts(run, '/zero/', status(503)), '503 after 1');
      assert.equal(
        await attempts(run, '/5xx/', { ...status(503), 'x-envoy-max-retries': '5' }),
        '503 after 6',
      );
      assert.equal(
        await attempts(run, '/5xx/', { ...status(503), 'x-envoy-max-retries': '0' }),
        '503 after 1',
      );
      assert.equal(
        await attempts(run, '/zero/', { ...status(503), 'x-envoy-max-retries': '1' }),
        '503 after 2',
      );
    },
    'asked for by the request': async (run) => {
      const on = (value: string, more: Headers = {}): Promise<string> =>
        attempts(run, '/plain/', { ...status(503), 'x-envoy-retry-on': value, ...more });
      assert.equal(await on('5xx'), '503 after 2');
      assert.equal(await on('5xx', { 'x-envoy-max-retries': '3' }), '503 after 4');
      assert.equal(await on('retriable-4xx'), '503 after 1');
      assert.equal(
        await on('retriable-status-codes', { 'x-envoy-retriable-status-codes': '502,503' }),
        '503 after 2',
      );
      assert.equal(
        await on('retriable-status-codes', { 'x-envoy-retriable-status-codes': '502' }),
        '503 after 1',
      );
      assert.equal(
        await on('retriable-headers', {
          'x-envoy-retriable-header-names': 'x-again',
          'x-want-header': 'x-again: 1',
        }),
        '503 after 2',
      );
      assert.equal(
        await attempts(run, '/plain/', { ...grpcStatus(14), 'x-envoy-retry-grpc-on': 'unavailable' }),
        '200 after 2',
      );
      assert.equal(await attempts(run, '/plain/', status(503)), '503 after 1');
      const { headers } = (
        await run.get('/plain/', { headers: { 'x-envoy-retry-on': '5xx', 'x-envoy-max-retries': '2' } })
      ).echo();
      assert.deepEqual([headers['x-envoy-retry-on'], headers['x-envoy-max-retries']], [undefined, undefined]);
    },
    'only for some requests': async (run) => {
      assert.equal(await attempts(run, '/only/', status(503)), '503 after 3');
      assert.equal(await attempts(run, '/only/', status(503), 'PUT'), '503 after 1');
    },
    'nobody listens': async (run) => {
      assert.equal(await attempts(run, '/dead/'), '503 after 3');
      assert.equal(await attempts(run, '/dead-other/'), '503 after 1');
      assert.ok((await run.stat('cluster.dead.upstream_rq_retry_limit_exceeded')) >= 1);
    },
    'the policy of the virtual host': async (run) => {
      assert.equal(await attempts(run, '/x', { host: 'inherits.example', ...status(503) }), '503 after 3');
      assert.equal(await attempts(run, '/own/', { host: 'inherits.example', ...status(503) }), '503 after 2');
    },
    'back-off': async (run) => {
      let longest = 0;
      for (let i = 0; i < 6; i++) {
        const start = performance.now();
        assert.equal(await attempts(run, '/slow-off/', status(503)), '503 after 3');
        longest = Math.max(longest, performance.now() - start);
      }
      // Two waits of up to 200 ms each.
      assert.ok(longest > 40, String(longest));
    },
    'back-off that the upstream asks for': async (run) => {
      const took = async (header: string): Promise<number> => {
        const start = performance.now();
        assert.equal(
          await attempts(run, '/limited/', { ...status(503), 'x-want-header': header }),
          '503 after 2',
        );
        return performance.now() - start;
      };
      const waited = await took('retry-after: 1');
      assert.ok(waited >= 950, String(waited));
      // Over at once, longer than allowed, no number: the plain back-off in the last two cases.
      for (const text of ['0', '100', 'soon']) assert.ok((await took(`retry-after: ${text}`)) < waited, text);
    },
    'another host than before': async (run) => {
      for (let i = 0; i < 12; i++) {
        const answer = await run.get('/others/', { headers: { 'x-want-status-app': '503' } });
        assert.deepEqual([answer.status, answer.echo().backend], [200, 'two']);
      }
    },
    'hosts left out by their metadata': async (run) => {
      for (let i = 0; i < 12; i++) {
        const answer = await run.get('/not-two/', { headers: { 'x-want-status-two': '503' } });
        assert.deepEqual([answer.status, answer.echo().backend], [200, 'app']);
      }
    },
    'another priority than before': async (run) => {
      assert.equal((await run.get('/priority/')).echo().backend, 'app');
      for (let i = 0; i < 3; i++) {
        const answer = await run.get('/priority/', { headers: { 'x-want-status-app': '503' } });
        assert.deepEqual([answer.status, answer.echo().backend], [200, 'two']);
      }
    },
    'a budget of nothing': async (run) => {
      assert.equal(await attempts(run, '/budget/', status(503)), '503 after 1');
      assert.ok((await run.stat('cluster.budget.upstream_rq_retry_overflow')) >= 1);
    },
  },
});
