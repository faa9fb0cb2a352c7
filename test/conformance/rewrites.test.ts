/** Rewrites of path and host. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import { type RequestOptions, send } from '../harness/http_request.ts';

/** Path, original path, host and forwarded host at the application. */
async function seen(run: Run, path: string, headers: NonNullable<RequestOptions['headers']> = {}) {
  const echo = (await run.get(path, { headers: { host: 'shop.example', ...headers } })).echo();
  return {
    path: echo.path,
    original: echo.headers['x-envoy-original-path'],
    host: echo.headers['host'],
    forwarded: echo.headers['x-forwarded-host'],
  };
}

conformance(import.meta.filename, {
  rows: ['5.18'],
  cases: {
    'the matched prefix': async (run) => {
      const cases: Readonly<Record<string, string>> = {
        '/prefix/x?q=/prefix/': '/new/x?q=/prefix/',
        '/prefix/': '/new/',
        '/root/x': '//x',
        '/root': '/',
        '/rootx?q': '/x?q',
        '/path?q=1': '/other?q=1',
        '/sep/x': '/parted/x',
        '/sep?q': '/parted?q',
        '/fOLD/X': '/f/X',
        '/whole/x?q=1': '/all?q=1',
      };
      for (const [path, expected] of Object.entries(cases)) {
        const found = await seen(run, path);
        assert.deepEqual([found.path, found.original], [expected, path], path);
      }
      assert.deepEqual(
        [(await seen(run, '/else')).path, (await seen(run, '/else')).original],
        ['/else', undefined],
      );
    },
    'by regular expression': async (run) => {
      assert.equal((await seen(run, '/regex/abc/12/rest?q=/regex/x/1')).path, '/12/abc\\/rest?q=/regex/x/1');
      assert.equal((await seen(run, '/regex/abc')).path, '/regex/abc');
      assert.equal((await seen(run, '/every/aXa?a=a')).path, '/every/bXb?a=a');
    },
    'by format': async (run) => {
      assert.equal((await seen(run, '/format?q=1', { 'x-part': 'here' })).path, '/made/here?q=1');
    },
    'the host': async (run) => {
      const literal = await seen(run, '/literal');
      assert.deepEqual([literal.host, literal.forwarded], ['lit.example', 'shop.example']);
      const appended = await seen(run, '/literal', { 'x-forwarded-host': 'first.example' });
      assert.equal(appended.forwarded, 'first.example,shop.example');
      const auto = await seen(run, '/auto');
      assert.deepEqual([auto.host, auto.forwarded], ['named.example', 'shop.example']);
      assert.equal((await seen(run, '/header', { 'x-new-host': 'other.example' })).host, 'other.example');
      assert.equal((await seen(run, '/header')).host, 'shop.example');
      const byPath = await seen(run, '/hostpath/tenant/x?q=1');
      assert.deepEqual([byPath.host, byPath.path], ['tenant.example', '/tenant/x?q=1']);
      assert.equal((await seen(run, '/hostformat', { 'x-tenant': 't1' })).host, 't1.example');
    },
    'header rules come before the rewrite and see the old path': async (run) => {
      const echo = (await run.get('/rule/x', { headers: { host: 'shop.example' } })).echo();
      assert.equal(echo.path, '/ruled/x');
      assert.equal(echo.headers['x-path'], '/rule/x');
    },
    'suppressed headers': async (run) => {
      const answer = await send(run.port('quiet'), '/x');
      const { headers, path } = answer.echo();
      assert.equal(path, '/new/x');
      assert.equal(headers['x-envoy-original-path'], undefined);
      assert.equal(headers['x-envoy-expected-rq-timeout-ms'], undefined);
      assert.equal(answer.headers['x-envoy-upstream-service-time'], undefined);
    },
  },
});
