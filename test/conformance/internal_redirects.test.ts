/** Redirects of the upstream that the proxy follows (internal_redirect_policy). */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';

/** Sends a request whose first answer redirects; tells who answered at last and under which path. */
async function follow(run: Run, path: string, location: string, status = 302) {
  const answer = await run.get(path, {
    headers: {
      host: 'shop.example',
      'x-want-status-app': String(status),
      'x-want-header': `location: ${location}`,
    },
  });
  if (answer.status !== 200) return String(answer.status);
  if (answer.body === 'direct') return 'direct';
  const echo = answer.echo();
  return `${echo.backend} ${echo.method} ${echo.path} ${echo.headers['host']} ${echo.headers['x-envoy-original-url'] ?? ''}`.trim();
}

conformance(import.meta.filename, {
  rows: ['5.17'],
  backends: ['app', 'two'],
  cases: {
    'one redirect is followed': async (run) => {
      const followed = await run.stat('cluster.app.upstream_internal_redirect_succeeded_total');
      assert.equal(
        await follow(run, '/once/x?q=1', 'http://new.example/target/y?z=2'),
        'two GET /target/y?z=2 new.example http://shop.example/once/x?q=1',
      );
      assert.equal(await run.stat('cluster.app.upstream_internal_redirect_succeeded_total'), followed + 1);
    },
    'to a direct response': async (run) => {
      assert.equal(await follow(run, '/once', 'http://shop.example/direct'), 'direct');
    },
    'only once unless more is allowed': async (run) => {
      assert.equal(await follow(run, '/once', 'http://shop.example/plain'), '302');
      assert.equal(await follow(run, '/once', 'http://shop.example/once'), '302');
      const before = run.backend('app').requests;
      assert.equal(await follow(run, '/twice', 'http://shop.example/twice'), '302');
      assert.equal(run.backend('app').requests - before, 3);
    },
    'what is not followed': async (run) => {
      assert.equal(await follow(run, '/plain', 'http://shop.example/target'), '302');
      assert.equal(await follow(run, '/once', 'http://shop.example/target', 301), '301');
      assert.equal(await follow(run, '/once', 'https://shop.example/target'), '302');
      assert.equal(await follow(run, '/once', 'ftp://shop.example/target'), '302');
      assert.equal(await follow(run, '/once', 'http://shop.example/no-such-route'), '302');
      assert.equal(await follow(run, '/once', ''), '302');
      assert.equal(await follow(run, '/once', '/target/a-path-alone'), '302');
      const failed = await run.stat('cluster.app.upstream_internal_redirect_failed_total');
      assert.ok(failed >= 3, String(failed));
    },
    'chosen codes': async (run) => {
      assert.match(await follow(run, '/codes', 'http://shop.example/target', 301), /^two GET/);
      assert.match(await follow(run, '/codes', 'http://shop.example/target', 307), /^two GET/);
      assert.equal(await follow(run, '/codes', 'http://shop.example/target', 308), '308');
      // Envoy takes 302 besides only when no code is named.
      assert.equal(await follow(run, '/codes', 'http://shop.example/target', 302), '302');
    },
    'to another scheme': async (run) => {
      assert.match(await follow(run, '/cross', 'https://shop.example/target'), /^two GET/);
    },
    'methods and bodies': async (run) => {
      const send = async (path: string, status: string) => {
        const answer = await run.get(path, {
          method: 'POST',
          body: 'the body',
          headers: { 'x-want-status-app': status, 'x-want-header': 'location: http://shop.example/target' },
        });
        const { backend, method, body } = answer.echo();
        return [backend, method, body];
      };
      assert.deepEqual(await send('/once', '302'), ['two', 'POST', 'the body']);
      assert.deepEqual(await send('/codes', '307'), ['two', 'POST', 'the body']);
      assert.deepEqual(await send('/codes', '303'), ['two', 'GET', '']);
    },
    'headers of the redirect that are kept': async (run) => {
      const answer = await run.get('/copy', {
        headers: {
          'x-want-status-app': '302',
          'x-want-header': 'location: http://shop.example/target',
          'x-kept': 'old',
        },
      });
      assert.equal(answer.echo().headers['x-kept'], undefined);
    },
    predicates: async (run) => {
      assert.match(await follow(run, '/listed', 'http://shop.example/target'), /^two GET/);
      assert.equal(await follow(run, '/listed', 'http://shop.example/other'), '302');
      const before = run.backend('app').requests;
      assert.equal(await follow(run, '/previous', 'http://shop.example/previous'), '302');
      assert.equal(run.backend('app').requests - before, 2);
    },
  },
});
