/** Replies of the proxy itself, changed by local_reply_config. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import { send } from '../harness/http_request.ts';

async function ask(run: Run, path: string, headers: Record<string, string> = {}) {
  const { status, body, headers: found } = await run.get(path, { headers });
  return [status, found['content-type'], body];
}

conformance(import.meta.filename, {
  rows: ['issue 4, section 3'],
  cases: {
    'a format for all': async (run) => {
      assert.deepEqual(await ask(run, '/teapot'), [418, 'text/plain', '418:tea:/teapot']);
    },
    'status, body and headers of a mapper': async (run) => {
      const answer = await run.get('/else');
      assert.deepEqual([answer.status, answer.body], [410, '410:gone:/else']);
      assert.deepEqual([answer.headers['x-mapped'], answer.headers['x-own']], ['was 404', 'mapper']);
      assert.equal(answer.headers['content-length'], String(answer.body.length));
      const direct = await run.get('/direct404');
      assert.deepEqual(
        [direct.status, direct.body, direct.headers['x-own']],
        [410, '410:gone:/direct404', 'mapper'],
      );
    },
    'by response flag, as JSON': async (run) => {
      const [status, type, body] = await ask(run, '/nowhere');
      assert.deepEqual([status, type], [500, 'application/json']);
      assert.deepEqual(JSON.parse(String(body)), { code: 500, flags: 'NC', text: '' });
    },
    'by request header': async (run) => {
      assert.deepEqual(await ask(run, '/teapot', { 'x-html': '1' }), [
        418,
        'text/html; charset=UTF-8',
        '<p>tea</p>',
      ]);
    },
    'a content type among the headers': async (run) => {
      assert.deepEqual(await ask(run, '/problem', { 'x-type': '1' }), [
        503,
        'application/problem',
        '503:bad:/problem',
      ]);
      assert.deepEqual(await ask(run, '/problem'), [503, 'text/plain', '503:bad:/problem']);
    },
    'answers of the application stay': async (run) => {
      const answer = await run.get('/app', { headers: { 'x-want-status': '404', 'x-want-body': 'own' } });
      assert.deepEqual([answer.status, answer.body, answer.headers['x-mapped']], [404, 'own', undefined]);
    },
    'HEAD and gRPC': async (run) => {
      const head = await run.get('/teapot', { method: 'HEAD' });
      assert.deepEqual([head.status, head.body, head.headers['content-length']], [418, '', '15']);
      const grpc = await run.get('/else', {
        method: 'POST',
        headers: { 'content-type': 'application/grpc' },
      });
      assert.deepEqual(
        [grpc.status, grpc.headers['grpc-status'], grpc.headers['grpc-message'], grpc.headers['x-own']],
        [200, '2', '410:gone:/else', 'mapper'],
      );
    },
    'nested JSON with a content type': async (run) => {
      const answer = await send(run.port('json'), '/teapot');
      assert.equal(answer.headers['content-type'], 'application/problem+json');
      assert.deepEqual(JSON.parse(answer.body), { error: { status: 418, message: 'tea' }, path: '/teapot' });
      const missing = await send(run.port('json'), '/none');
      assert.deepEqual(JSON.parse(missing.body), { error: { status: 404, message: '' }, path: '/none' });
    },
  },
});
