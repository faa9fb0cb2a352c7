/** Filters that only look at the head of a request: header_to_metadata and csrf. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import type { Answer } from '../harness/http_request.ts';

type Headers = Readonly<Record<string, string>>;

function post(run: Run, path: string, headers: Headers): Promise<Answer> {
  return run.get(path, { method: 'POST', headers: { host: 'shop.example', ...headers } });
}

async function lastLine(run: Run, count: number): Promise<string> {
  return (await run.lines('access.log', count)).at(-1) ?? '';
}

conformance(import.meta.filename, {
  rows: ['issue 4, section 3'],
  cases: {
    'values of headers and cookies become metadata': async (run) => {
      const answer = await run.get('/first/second', {
        headers: {
          'x-key': 'abc',
          'x-size': '12.5',
          cookie: 'a=1; crumb="sweet"',
          'x-want-header': 'x-answer: aGVsbG8=',
        },
      });
      assert.equal(answer.echo().headers['x-key'], undefined);
      assert.equal(answer.echo().headers['x-size'], '12.5');
      assert.equal(answer.headers['x-answer'], undefined);
      const line = await lastLine(run, 1);
      assert.equal(line, '/first/second 200 via_upstream abc 12.5 first sweet hello');
    },
    'a value for a header that is missing, and other rules of a route': async (run) => {
      await run.get('/plain');
      assert.equal(await lastLine(run, 2), '/plain 200 via_upstream nothing - plain - -');
      const answer = await run.get('/other_rules', { headers: { 'x-key': 'abc' } });
      assert.equal(answer.echo().headers['x-key'], 'abc');
      assert.equal(await lastLine(run, 3), '/other_rules 200 via_upstream fixed - - - -');
    },
    'requests that change something must come from a known page': async (run) => {
      const cases: [Headers, number][] = [
        [{ origin: 'http://shop.example' }, 200],
        [{ origin: 'https://a.friend.example' }, 200],
        [{ referer: 'http://shop.example/basket?x=1' }, 200],
        [{ origin: 'null', referer: 'http://shop.example/' }, 403],
        [{ origin: 'http://evil.example' }, 403],
        [{ origin: 'http://shop.example:8080' }, 403],
        [{ origin: 'http://shop.example.evil.example' }, 403],
        [{}, 403],
      ];
      for (const [headers, status] of cases)
        assert.equal((await post(run, '/', headers)).status, status, JSON.stringify(headers));
      const refused = await post(run, '/', { origin: 'http://evil.example' });
      assert.equal(refused.body, 'Invalid origin');
      assert.match(await lastLine(run, 12), /403 csrf_origin_mismatch/);
      assert.equal((await run.get('/', { headers: { origin: 'http://evil.example' } })).status, 200);
      const read = (name: string): Promise<number> => run.stat(`http.in.csrf.${name}`);
      const names = ['request_valid', 'request_invalid', 'missing_source_origin'];
      assert.deepEqual(await Promise.all(names.map(read)), [3, 4, 2]);
    },
    'a trial run only counts': async (run) => {
      assert.equal((await post(run, '/shadow', { origin: 'http://evil.example' })).status, 200);
      assert.equal(await run.stat('http.in.csrf.request_invalid'), 5);
    },
  },
});
