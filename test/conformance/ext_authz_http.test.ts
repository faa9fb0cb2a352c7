/** External authorization by HTTP (envoy.extensions.filters.http.ext_authz.v3.HttpService), as Istio's CUSTOM action uses it. */
import assert from 'node:assert/strict';
import { AuthzHttpService } from '../harness/authz_http_service.ts';
import { conformance, type Run } from '../harness/conformance.ts';
import { type Answer, type RequestOptions, send } from '../harness/http_request.ts';

let service: AuthzHttpService;

function ask(run: Run, listener: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  service.take();
  return send(run.port(listener), path, options);
}

function post(body: string | Buffer): RequestOptions {
  return { method: 'POST', body };
}

conformance(import.meta.filename, {
  rows: ['7.10'],
  async setUp() {
    service = await AuthzHttpService.start();
    return { AUTHZ_PORT: String(service.port) };
  },
  tearDown: () => service.stop(),
  cases: {
    'the service sees what it may, the application what it says': async (run) => {
      const answer = await ask(run, 'in', '/allow?q=1', {
        headers: {
          'X-User': 'u',
          'x-pass-a': '1',
          'x-other': 'mine',
          authorization: 'Bearer t',
          'x-append': 'a',
          'x-remove': '1',
          cookie: 'c=1',
        },
      });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['x-ok-info'], 'fine');
      assert.equal(answer.headers['x-other'], undefined);
      const { headers, path } = answer.echo();
      assert.equal(path, '/allow?q=1');
      assert.equal(headers['x-auth-user'], 'alice');
      assert.equal(headers['x-append'], 'a, b');
      assert.equal(headers['x-remove'], undefined);
      assert.equal(headers['x-other'], 'mine');
      const [question] = service.take();
      assert.equal(question?.method, 'GET');
      assert.equal(question?.path, '/check/allow?q=1');
      assert.deepEqual(
        ['x-user', 'x-pass-a', 'x-added', 'authorization', 'content-length', 'cookie', 'x-other'].map(
          (name) => question?.headers[name],
        ),
        ['u', '1', 'yes', 'Bearer t', '0', undefined, undefined],
      );
      assert.equal(question?.headers.host, `127.0.0.1:${run.port('in')}`);
      assert.match((await run.lines('in.log', 1)).at(-1) ?? '', /via_upstream .*"x-meta":"m"/);
    },
    'a refusal is passed on with its status, body and listed headers': async (run) => {
      const refused = await ask(run, 'in', '/deny');
      assert.equal(refused.status, 403);
      assert.equal(refused.body, '{"no":1}');
      assert.equal(refused.headers['x-reason'], 'because');
      assert.equal(refused.headers['x-hidden'], undefined);
      assert.equal(refused.headers['www-authenticate'], 'Basic');
      const redirected = await ask(run, 'in', '/redirect');
      assert.equal(redirected.status, 302);
      assert.equal(redirected.headers.location, '/login');
      // Only 200 lets pass.
      const created = await ask(run, 'in', '/created');
      assert.equal(created.status, 201);
      assert.equal(created.body, 'created');
      assert.equal((await run.lines('in.log', 4)).at(-1), '/created 201 UAEX ext_authz_denied -');
      const grpc = { method: 'POST', headers: { 'content-type': 'application/grpc' } };
      const call = await ask(run, 'in', '/deny', grpc);
      assert.equal(call.status, 200);
      assert.equal(call.headers['grpc-status'], '7');
    },
    'a service that fails or is late': async (run) => {
      for (const path of ['/error', '/slow']) {
        const answer = await ask(run, 'in', path);
        assert.equal(answer.status, 401, path);
        assert.equal(answer.body, '', path);
      }
      assert.equal((await ask(run, 'dead', '/')).status, 403);
      assert.equal((await run.lines('dead.log', 1)).at(-1), '/ 403 UAEX ext_authz_error -');
      const allowed = await ask(run, 'body', '/error', post('hi'));
      assert.equal(allowed.status, 200);
      assert.equal(allowed.echo().headers['x-envoy-auth-failure-mode-allowed'], 'true');
      assert.equal(allowed.echo().body, 'hi');
    },
    'routes that are not guarded, and those chosen by what the service said': async (run) => {
      assert.equal((await ask(run, 'in', '/open/deny')).status, 200);
      assert.deepEqual(service.take(), []);
      assert.equal((await ask(run, 'in', '/admin')).body, 'admin page');
    },
    'the body goes along as far as it may': async (run) => {
      assert.equal((await ask(run, 'body', '/allow', post('hello'))).echo().body, 'hello');
      const [whole] = service.take();
      assert.deepEqual([whole?.body, whole?.headers['x-envoy-auth-partial-body']], ['hello', 'false']);
      const long = 'x'.repeat(700_000);
      assert.equal((await ask(run, 'body', '/allow', post(long))).echo().body, long);
      const [part] = service.take();
      assert.deepEqual([part?.body, part?.headers['x-envoy-auth-partial-body']], ['xxxxxxxxxx', 'true']);
      assert.equal((await ask(run, 'body', '/nobody', post('hello'))).status, 200);
      assert.equal(service.take()[0]?.body, '');
      assert.equal((await ask(run, 'whole', '/allow', post('0123456789'))).status, 200);
      assert.equal((await ask(run, 'whole', '/allow', post('0123456789a'))).status, 413);
      assert.deepEqual(service.take(), []);
      assert.equal((await ask(run, 'in', '/allow', post('hello'))).echo().body, 'hello');
      assert.equal(service.take()[0]?.body, '');
    },
    'a filter that is off may refuse everything': async (run) => {
      assert.equal((await ask(run, 'off_deny', '/allow')).status, 403);
      assert.deepEqual(service.take(), []);
      assert.equal(await run.stat('http.off_deny.ext_authz.disabled'), 1);
    },
    statistics: async (run) => {
      const read = (name: string): Promise<number> => run.stat(`http.in.ext_authz.${name}`);
      assert.deepEqual(await Promise.all(['ok', 'denied', 'error', 'disabled'].map(read)), [3, 4, 2, 0]);
      assert.equal(await run.stat('http.body.ext_authz.failure_mode_allowed'), 1);
      assert.equal(await run.stat('cluster.app.ext_authz.denied'), 4);
    },
  },
});
