/** Forwarding headers, request ids, `server`, `via` and the host as connection managers rewrite them. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import { type Answer, type RequestOptions, send } from '../harness/http_request.ts';

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const given = 'a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d';

type Headers = NonNullable<RequestOptions['headers']>;

function ask(run: Run, port: string, headers: Headers = {}): Promise<Answer> {
  return send(run.port(port), '/', { headers });
}

/** The named headers as the application saw them. */
async function seen(run: Run, port: string, headers: Headers, names: readonly string[]): Promise<unknown> {
  const { headers: found } = (await ask(run, port, headers)).echo();
  return names.map((name) => found[name]);
}

conformance(import.meta.filename, {
  rows: ['5.10'],
  cases: {
    'the client is the entry before the trusted hops': async (run) => {
      const client = async (list: string) =>
        (await seen(run, 'in', { 'x-forwarded-for': list }, [
          'x-client',
          'x-direct',
          'x-forwarded-for',
        ])) as string[];
      assert.deepEqual(await client('9.9.9.9, 5.6.7.8,1.2.3.4'), [
        '5.6.7.8',
        '127.0.0.1',
        '9.9.9.9, 5.6.7.8,1.2.3.4',
      ]);
      assert.deepEqual(await client('5.6.7.8, 1.2.3.4'), ['5.6.7.8', '127.0.0.1', '5.6.7.8, 1.2.3.4']);
      // Fewer entries than hops: the connection counts.
      assert.deepEqual(await client('1.2.3.4'), ['127.0.0.1', '127.0.0.1', '1.2.3.4']);
      assert.deepEqual(await client('nobody, 1.2.3.4'), ['127.0.0.1', '127.0.0.1', 'nobody, 1.2.3.4']);
      assert.deepEqual(await client('2001:db8::1, 1.2.3.4'), [
        '2001:db8::1',
        '127.0.0.1',
        '2001:db8::1, 1.2.3.4',
      ]);
    },
    'x-forwarded-proto and scheme of a client inside stay': async (run) => {
      const names = ['x-forwarded-proto', 'x-scheme'];
      assert.deepEqual(await seen(run, 'in', {}, names), ['http', 'http']);
      assert.deepEqual(await seen(run, 'in', { 'x-forwarded-proto': 'https' }, names), ['https', 'https']);
      assert.deepEqual(await seen(run, 'in', { 'x-forwarded-proto': 'ftp' }, names), ['ftp', 'http']);
    },
    'a request id inside stays; without one it is made': async (run) => {
      assert.deepEqual(await seen(run, 'in', { 'x-request-id': 'mine' }, ['x-request-id']), ['mine']);
      const [made] = (await seen(run, 'in', {}, ['x-request-id'])) as string[];
      assert.match(made ?? '', uuid);
      assert.equal((await ask(run, 'in')).headers['x-request-id'], undefined);
    },
    'server and via': async (run) => {
      const plain = await ask(run, 'in', { via: '1.1 before' });
      assert.equal(plain.headers['server'], 'mesh');
      assert.equal(plain.headers['via'], 'one');
      assert.equal(plain.echo().headers['via'], '1.1 before, one');
      const named = await ask(run, 'in', { 'x-want-header': 'server: own' });
      assert.equal(named.headers['server'], 'own');
      assert.equal((await ask(run, 'edge', { 'x-want-header': 'server: own' })).headers['server'], 'envoy');
      assert.equal((await ask(run, 'behind')).headers['server'], undefined);
      assert.equal((await ask(run, 'behind', { 'x-want-header': 'server: own' })).headers['server'], 'own');
    },
    'ports and dots of the host': async (run) => {
      const host = async (port: string, text: string) =>
        (await seen(run, port, { host: text }, ['host'])) as string[];
      const own = run.port('in');
      assert.deepEqual(await host('in', `shop.example:${own}`), ['shop.example']);
      assert.deepEqual(await host('in', 'shop.example:1'), ['shop.example:1']);
      assert.deepEqual(await host('in', 'shop.example.'), ['shop.example']);
      assert.deepEqual(await host('in', `shop.example.:${own}`), ['shop.example']);
      assert.deepEqual(await host('in', 'shop.example.:1'), ['shop.example:1']);
      assert.deepEqual(await host('edge', 'shop.example:1'), ['shop.example']);
      assert.deepEqual(await host('edge', '[::1]:80'), ['[::1]']);
      assert.deepEqual(await host('edge', '[::1]'), ['[::1]']);
      assert.deepEqual(await host('edge', 'shop.example.'), ['shop.example.']);
    },
    'the edge appends itself and trusts nothing': async (run) => {
      const { headers } = (
        await ask(run, 'edge', {
          'x-forwarded-for': '1.2.3.4',
          'x-forwarded-proto': 'https',
          'x-envoy-internal': 'true',
          'x-envoy-max-retries': '3',
          'x-envoy-decorator-operation': 'op',
          'x-envoy-original-path': '/was',
          'x-request-id': given,
        })
      ).echo();
      assert.match(headers['x-forwarded-for'] ?? '', /^1\.2\.3\.4,\d+\.\d+\.\d+\.\d+$/);
      assert.equal(headers['x-forwarded-proto'], 'http');
      assert.equal(headers['x-client'], '127.0.0.1');
      assert.equal(headers['x-envoy-external-address'], '127.0.0.1');
      for (const name of [
        'x-envoy-internal',
        'x-envoy-max-retries',
        'x-envoy-decorator-operation',
        'x-envoy-original-path',
      ])
        assert.equal(headers[name], undefined, name);
      assert.match(headers['x-request-id'] ?? '', uuid);
      assert.notEqual(headers['x-request-id'], given);
      assert.equal(headers['x-forwarded-port'], String(run.port('edge')));
    },
    'the id goes back to the client where that is asked for': async (run) => {
      const answer = await ask(run, 'edge');
      assert.match(String(answer.headers['x-request-id']), uuid);
      assert.equal(answer.headers['x-request-id'], answer.echo().headers['x-request-id']);
    },
    'user agent of the edge': async (run) => {
      const names = ['user-agent', 'x-envoy-downstream-service-cluster'];
      assert.deepEqual(await seen(run, 'edge', {}, names), ['shop', 'shop']);
      assert.deepEqual(await seen(run, 'edge', { 'user-agent': 'curl' }, names), ['curl', 'shop']);
    },
    'an edge behind a trusted balancer': async (run) => {
      const names = [
        'x-client',
        'x-forwarded-for',
        'x-forwarded-proto',
        'x-forwarded-port',
        'x-envoy-external-address',
        'x-request-id',
      ];
      assert.deepEqual(
        await seen(
          run,
          'behind',
          {
            'x-forwarded-for': '9.9.9.9, 1.2.3.4',
            'x-forwarded-proto': 'https',
            'x-forwarded-port': '443',
            'x-request-id': given,
          },
          names,
        ),
        ['1.2.3.4', '9.9.9.9, 1.2.3.4', 'https', '443', '1.2.3.4', given],
      );
      const bare = (await seen(run, 'behind', {}, names)) as string[];
      assert.deepEqual(bare.slice(0, 5), [
        '127.0.0.1',
        undefined,
        'http',
        String(run.port('behind')),
        '127.0.0.1',
      ]);
    },
    'clients inside by their address': async (run) => {
      const names = [
        'x-envoy-internal',
        'x-envoy-external-address',
        'x-envoy-max-retries',
        'x-request-id',
        'x-scheme',
        'x-forwarded-proto',
      ];
      // The router takes its own headers out.
      assert.deepEqual(
        await seen(run, 'inside', { 'x-envoy-max-retries': '3', 'x-request-id': 'mine' }, names),
        ['true', undefined, undefined, 'mine', 'https', 'https'],
      );
      // Somebody stands in front: the address of the connection tells nothing.
      assert.deepEqual(await seen(run, 'inside', { 'x-forwarded-for': '10.1.1.1' }, names), [
        undefined,
        '127.0.0.1',
        undefined,
        undefined,
        'https',
        'https',
      ]);
    },
  },
});
