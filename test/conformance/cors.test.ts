/** CORS: preflights and answers, by the policies of routes and virtual hosts. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';

const names = [
  'access-control-allow-origin',
  'access-control-allow-methods',
  'access-control-allow-headers',
  'access-control-expose-headers',
  'access-control-max-age',
  'access-control-allow-credentials',
] as const;

/** Status and the CORS headers that are there; `app` when the application answered. */
async function ask(
  run: Run,
  path: string,
  origin: string,
  preflight?: Record<string, string>,
  method = 'OPTIONS',
) {
  const before = run.backend('app').requests;
  const answer = await run.get(path, {
    method: preflight === undefined ? 'GET' : method,
    headers: { origin, ...preflight },
  });
  const found: Record<string, unknown> = { status: answer.status };
  for (const name of names)
    if (answer.headers[name] !== undefined) found[name.slice(15)] = answer.headers[name];
  if (run.backend('app').requests > before) found['by'] = 'app';
  return found;
}

const put = { 'access-control-request-method': 'PUT' };

conformance(import.meta.filename, {
  rows: ['5.24'],
  cases: {
    preflights: async (run) => {
      const allowed = {
        status: 200,
        'allow-origin': 'https://a.example',
        'allow-methods': 'GET,PUT',
        'allow-headers': 'x-a,x-b',
        'max-age': '60',
        'allow-credentials': 'true',
        'expose-headers': 'x-c',
      };
      assert.deepEqual(await ask(run, '/full', 'https://a.example', put), allowed);
      assert.deepEqual(await ask(run, '/full', 'http://dev.x', put), {
        ...allowed,
        'allow-origin': 'http://dev.x',
      });
      assert.deepEqual(await ask(run, '/full', 'https://x.b.example', put), {
        ...allowed,
        'allow-origin': 'https://x.b.example',
      });
    },
    'requests of a page': async (run) => {
      assert.deepEqual(await ask(run, '/full', 'https://a.example'), {
        status: 200,
        'allow-origin': 'https://a.example',
        'expose-headers': 'x-c',
        'allow-credentials': 'true',
        by: 'app',
      });
      assert.deepEqual(await ask(run, '/full', 'https://evil.example'), { status: 200, by: 'app' });
      assert.deepEqual(await ask(run, '/full', 'https://A.example'), { status: 200, by: 'app' });
      assert.deepEqual(await ask(run, '/full', 'https://a.example', put, 'GET'), {
        status: 200,
        'allow-origin': 'https://a.example',
        'expose-headers': 'x-c',
        'allow-credentials': 'true',
        by: 'app',
      });
    },
    'OPTIONS that is no preflight': async (run) => {
      assert.deepEqual(await ask(run, '/full', 'https://a.example', {}), {
        status: 200,
        'allow-origin': 'https://a.example',
        'expose-headers': 'x-c',
        'allow-credentials': 'true',
        by: 'app',
      });
    },
    'anybody and anything': async (run) => {
      assert.deepEqual(
        await ask(run, '/any', 'https://evil.example', { ...put, 'access-control-request-headers': 'x-one' }),
        {
          status: 200,
          'allow-origin': 'https://evil.example',
          'allow-methods': 'PUT',
          'allow-headers': 'x-one',
          'expose-headers': '*',
          'max-age': '0',
        },
      );
      assert.deepEqual(await ask(run, '/any', 'https://evil.example'), {
        status: 200,
        'allow-origin': 'https://evil.example',
        'expose-headers': '*',
        by: 'app',
      });
      assert.deepEqual(await ask(run, '/star', 'https://evil.example', put), {
        status: 200,
        'allow-origin': 'https://evil.example',
        'allow-methods': 'GET',
      });
    },
    'preflights of others': async (run) => {
      assert.deepEqual(await ask(run, '/full', 'https://evil.example', put), { status: 200, by: 'app' });
      assert.deepEqual(await ask(run, '/forwards', 'https://evil.example', put), { status: 200, by: 'app' });
      assert.equal((await ask(run, '/strict', 'https://evil.example', put))['by'], undefined);
      assert.deepEqual(await ask(run, '/strict', 'https://a.example', put), {
        status: 200,
        'allow-origin': 'https://a.example',
        'allow-methods': 'GET',
      });
    },
    'switched off and watched': async (run) => {
      assert.deepEqual(await ask(run, '/off', 'https://a.example'), { status: 200, by: 'app' });
      assert.deepEqual(await ask(run, '/off', 'https://a.example', put), { status: 200, by: 'app' });
      await run.admin('/runtime_modify?cors.off=100', 'POST');
      assert.equal((await ask(run, '/off', 'https://a.example', put))['allow-origin'], 'https://a.example');
      await run.admin('/runtime_modify?cors.off=', 'POST');
      const valid = await run.stat('http.in.cors.origin_valid');
      const invalid = await run.stat('http.in.cors.origin_invalid');
      assert.deepEqual(await ask(run, '/shadow', 'https://a.example'), { status: 200, by: 'app' });
      assert.deepEqual(await ask(run, '/shadow', 'https://evil.example'), { status: 200, by: 'app' });
      assert.equal(await run.stat('http.in.cors.origin_valid'), valid + 1);
      assert.equal(await run.stat('http.in.cors.origin_invalid'), invalid + 1);
    },
    'the policy of the virtual host; redirects have none': async (run) => {
      assert.deepEqual(await ask(run, '/inherits', 'https://host.example', put), {
        status: 200,
        'allow-origin': 'https://host.example',
        'allow-methods': 'GET',
      });
      assert.deepEqual(await ask(run, '/redirect', 'https://host.example'), { status: 301 });
    },
    'private networks': async (run) => {
      const preflight = (headers: Record<string, string>) =>
        run.get('/private', {
          method: 'OPTIONS',
          headers: { origin: 'https://a.example', ...put, ...headers },
        });
      const asked = await preflight({ 'access-control-request-private-network': 'true' });
      assert.equal(asked.headers['access-control-allow-private-network'], 'true');
      assert.equal((await preflight({})).headers['access-control-allow-private-network'], undefined);
    },
    'without an origin': async (run) => {
      const answer = await run.get('/full', { method: 'OPTIONS', headers: put });
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
      assert.equal(answer.echo().method, 'OPTIONS');
    },
  },
});
