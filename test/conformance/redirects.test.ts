/** Redirects with all their fields; direct responses with bodies from text, bytes, files and formats. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { conformance, type Run } from '../harness/conformance.ts';
import type { RequestOptions } from '../harness/http_request.ts';

async function location(run: Run, path: string, options: RequestOptions = {}): Promise<string> {
  const answer = await run.get(path, { headers: { host: 'shop.example', ...options.headers } });
  assert.equal(answer.body, '');
  return `${answer.status} ${answer.headers['location']}`;
}

conformance(import.meta.filename, {
  rows: ['5.17'],
  setUp: (directory) => {
    writeFileSync(join(directory, 'body.txt'), 'from a file\n');
    return {};
  },
  cases: {
    'scheme, host and port': async (run) => {
      const at = (path: string, host = 'shop.example') => location(run, path, { headers: { host } });
      assert.equal(await at('/host'), '301 http://new.example/host');
      assert.equal(await at('/host?q=1', 'shop.example:8080'), '301 http://new.example/host?q=1');
      assert.equal(await at('/port'), '301 http://shop.example:8443/port');
      assert.equal(await at('/port', 'shop.example:8080'), '301 http://shop.example:8443/port');
      assert.equal(await at('/port', '[::1]:8080'), '301 http://[::1]:8443/port');
      assert.equal(await at('/host-port'), '301 http://new.example:81/host-port');
      assert.equal(await at('/https'), '301 https://shop.example/https');
      assert.equal(await at('/https', 'shop.example:80'), '301 https://shop.example/https');
      assert.equal(await at('/https', 'shop.example:8080'), '301 https://shop.example:8080/https');
      assert.equal(await at('/scheme'), '301 ftp://shop.example/scheme');
      assert.equal(
        await location(run, '/scheme', {
          headers: { host: 'shop.example:443', 'x-forwarded-proto': 'https' },
        }),
        '301 ftp://shop.example/scheme',
      );
    },
    'path and query': async (run) => {
      assert.equal(await location(run, '/path?a=b'), '301 http://shop.example/other?a=b');
      assert.equal(await location(run, '/path-query?a=b'), '301 http://shop.example/other?own=1');
      assert.equal(await location(run, '/strip?a=b'), '301 http://shop.example/other');
      assert.equal(await location(run, '/strip-own?a=b'), '301 http://shop.example/other?own=1');
      assert.equal(await location(run, '/prefix/x?a=b'), '301 http://shop.example/new/x?a=b');
      assert.equal(await location(run, '/fOLD/x'), '301 http://shop.example/new/x');
      assert.equal(await location(run, '/re/abc/12?a=b'), '301 http://shop.example/12/abc?a=b');
      assert.equal(await location(run, '/re/12'), '301 http://shop.example/re/12');
    },
    'codes and headers': async (run) => {
      for (const code of [302, 303, 307, 308])
        assert.equal(await location(run, `/${code}`), `${code} http://shop.example/x`);
      const { headers } = await run.get('/headers');
      assert.deepEqual([headers['x-why'], headers['x-host']], ['moved', 'added']);
    },
    'TLS is required': async (run) => {
      const at = (host: string, headers: Record<string, string> = {}) =>
        run.get('/p?q=1', { headers: { host, ...headers } });
      const plain = await at('secure.example');
      assert.deepEqual([plain.status, plain.headers['location']], [301, 'https://secure.example/p?q=1']);
      assert.equal((await at('secure.example', { 'x-forwarded-proto': 'https' })).status, 200);
      assert.equal((await at('outside.example')).status, 301);
    },
    'direct responses': async (run) => {
      const file = await run.get('/file');
      assert.deepEqual(
        [file.status, file.body, file.headers['content-type'], file.headers['x-host']],
        [503, 'from a file\n', 'text/plain', 'added'],
      );
      const bytes = await run.get('/bytes');
      assert.deepEqual([bytes.status, bytes.body], [200, 'hello']);
      const json = await run.get('/json');
      assert.deepEqual([json.body, json.headers['content-type']], ['{}', 'application/json']);
      const head = await run.get('/bytes', { method: 'HEAD' });
      assert.deepEqual([head.status, head.body, head.headers['content-length']], [200, '', '5']);
      const grpc = await run.get('/file', {
        method: 'POST',
        headers: { 'content-type': 'application/grpc' },
      });
      assert.deepEqual(
        [grpc.status, grpc.headers['grpc-status'], grpc.headers['grpc-message']],
        [200, '14', 'from a file\n'.replace('\n', '%0A')],
      );
    },
    'bodies by format': async (run) => {
      const plain = await run.get('/format');
      assert.deepEqual(
        [plain.status, plain.body, plain.headers['content-type']],
        [200, 'path /format code 0', 'text/plain'],
      );
      const html = await run.get('/format-body');
      assert.deepEqual([html.status, html.body, html.headers['content-type']], [201, '<inner>', 'text/html']);
    },
    'a route that forwards nothing': async (run) => {
      assert.equal((await run.get('/non-forwarding')).status, 503);
    },
  },
});
