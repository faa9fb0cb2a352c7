/** Which virtual host serves a request. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import { send } from '../harness/http_request.ts';

function table(port: string, cases: Readonly<Record<string, string>>): (run: Run) => Promise<void> {
  return async (run) => {
    const found: Record<string, string> = {};
    for (const host of Object.keys(cases)) {
      const { status, body } = await send(run.port(port), '/', { headers: { host } });
      found[host] = status === 200 ? body : String(status);
    }
    assert.deepEqual(found, cases);
  };
}

conformance(import.meta.filename, {
  rows: ['5.13'],
  cases: {
    'exact, longest suffix, longest prefix, any': table('in', {
      'www.shop.example': 'exact',
      'WWW.Shop.Example': 'exact',
      'upper.example': 'exact',
      'shop.example:8080': 'exact',
      'shop.example:80': 'prefix',
      'www.shop.example:8080': 'any',
      '10.1.2.3': 'exact',
      '[::1]': 'exact',
      '[::1]:80': 'any',
      'x.a.shop.example': 'long-suffix',
      '.a.shop.example': 'suffix',
      'a.shop.example': 'suffix',
      'x.y.shop.example': 'suffix',
      '.shop.example': 'any',
      'v1-api.example': 'suffix',
      '-api.example': 'any',
      'shop.': 'any',
      'shop.long.x': 'prefix',
      'shop.other': 'prefix',
      'xshop.other': 'any',
      'www.shop.example.': 'any',
      other: 'any',
    }),
    'without ports': table('noport', {
      'www.shop.example:8080': 'exact',
      'x.shop.example:1': 'suffix',
      'shop.example:8080': 'prefix',
      '[::1]:80': 'exact',
      'www.shop.example:http': 'exact',
      'other:80': '404',
      other: '404',
    }),
    'by a header': async (run) => {
      const ask = async (headers: Record<string, string>): Promise<string> =>
        (await send(run.port('header'), '/', { headers })).body;
      assert.equal(await ask({ host: 'other', 'x-host': 'www.shop.example' }), 'exact');
      assert.equal(await ask({ host: 'www.shop.example', 'x-host': 'other' }), 'any');
      assert.equal(await ask({ host: 'www.shop.example' }), '');
    },
  },
});
