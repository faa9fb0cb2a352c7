/** Path normalization, slashes merged and escaped, header names with underscores. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import { send } from '../harness/http_request.ts';

/** The path at the application; status and location of a request that does not get there. */
async function path(run: Run, port: string, given: string): Promise<string> {
  const answer = await send(run.port(port), given);
  if (answer.status === 200) return answer.echo().path;
  return `${answer.status} ${answer.headers['location'] ?? ''}`.trim();
}

function table(port: string, cases: Readonly<Record<string, string>>): (run: Run) => Promise<void> {
  return async (run) => {
    const found: Record<string, string> = {};
    for (const given of Object.keys(cases)) found[given] = await path(run, port, given);
    assert.deepEqual(found, cases);
  };
}

const underscores = { a_b: '1', 'a-c': '2' };

conformance(import.meta.filename, {
  rows: ['5.11'],
  cases: {
    'nothing is changed unless asked for': table('raw', {
      '/a/../b': '/a/../b',
      '/a//b': '/a//b',
      '/a%2fb%5C': '/a%2fb%5C',
      '/%61\\b': '/%61\\b',
      '/a?x=/../%2f': '/a?x=/../%2f',
      '/a#fragment': '400',
    }),
    'dot segments, escapes and backslashes': table('normal', {
      '/a/../b': '/b',
      '/a/./b/.': '/a/b/',
      '/a/b/..': '/a/',
      '/../../etc': '/etc',
      '/a/%2e%2e/b': '/b',
      '/a/.%2E/b?q=/../x': '/b?q=/../x',
      '/%61%7e%41': '/a~A',
      '/a\\b\\..\\c': '/a/c',
      '/a%2fb%5cc': '/a%2fb%5cc',
      '/a//b': '/a//b',
      '/a%00b': '400',
      '/a%zz': '/a%zz',
      '/a%20b': '/a%20b',
      '/a..b/...': '/a..b/...',
      '/x/..;p/y': '/y',
    }),
    'normalized, merged and unescaped': table('in', {
      '/a//b///c': '/a/b/c',
      '//a': '/a',
      '/a%2f%2Fb': '/a/b',
      '/a%5cb': '/a/b',
      '/a%2f..%2fb': '/b',
      '/a/..//b': '/b',
      '/a?x=%2f//': '/a?x=%2f//',
    }),
    'escaped slashes are refused': table('merge', {
      '/a%2fb': '400',
      '/a%5Cb': '400',
      '/a?x=%2f': '/a?x=%2f',
      '/a//b': '/a/b',
      '/a/../b': '/a/../b',
    }),
    'escaped slashes lead to a redirect': table('redirect', {
      '/a%2fb?q=1': '307 /a/b?q=1',
      '/a%5c..%2fb': '307 /b',
      '/a/../b': '/b',
    }),
    'header names with underscores': async (run) => {
      const { headers } = (await send(run.port('raw'), '/', { headers: underscores })).echo();
      assert.deepEqual([headers['a_b'], headers['a-c']], ['1', '2']);
      const dropped = (await send(run.port('normal'), '/', { headers: underscores })).echo().headers;
      assert.deepEqual([dropped['a_b'], dropped['a-c']], [undefined, '2']);
      assert.equal((await send(run.port('merge'), '/', { headers: underscores })).status, 400);
      assert.equal((await send(run.port('merge'), '/', { headers: { 'a-c': '2' } })).status, 200);
    },
  },
});
