/** Hash policies of routes: what places a request on the ring, the same here as there. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import type { RequestOptions } from '../harness/http_request.ts';

async function host(
  run: Run,
  path: string,
  headers: NonNullable<RequestOptions['headers']> = {},
): Promise<string> {
  return (await run.get(path, { headers })).echo().backend;
}

const users = Array.from({ length: 24 }, (_, i) => `user${i}`);

const hosts: Readonly<Record<string, string>> = {
  user0: 'three',
  user1: 'two',
  user2: 'app',
  user3: 'three',
  user4: 'four',
  user5: 'app',
  user6: 'four',
  user7: 'four',
  user8: 'four',
  user9: 'app',
  user10: 'two',
  user11: 'four',
  both: 'four',
  'two values': 'three',
  address: 'app',
};

/** Hosts of all users; the same user always meets the same. */
async function spread(ask: (user: string) => Promise<string>): Promise<string> {
  const hosts: string[] = [];
  for (const user of users) {
    const found = await ask(user);
    assert.equal(await ask(user), found, user);
    hosts.push(found);
  }
  assert.ok(new Set(hosts).size > 1, 'all at one host');
  return hosts.join(' ');
}

conformance(import.meta.filename, {
  rows: ['5.32'],
  backends: ['app', 'two', 'three', 'four'],
  cases: {
    'header, with and without rewrite': async (run) => {
      const plain = await spread((user) => host(run, '/header', { 'x-user': user }));
      assert.equal(await spread((user) => host(run, '/rewritten', { 'x-user': `${user}-phone` })), plain);
      const one = await host(run, '/header', { 'x-user': ['b', 'a'] });
      assert.equal(await host(run, '/header', { 'x-user': ['a', 'b'] }), one);
    },
    // Keys of hosts, not ports, stand on the ring: it is the same in every run.
    'the hosts of Envoy': async (run) => {
      const found: Record<string, string> = {};
      for (const user of users.slice(0, 12)) found[user] = await host(run, '/header', { 'x-user': user });
      found['both'] = await host(run, '/both?user=x', { 'x-user': 'user1' });
      found['two values'] = await host(run, '/header', { 'x-user': ['b', 'a'] });
      found['address'] = await host(run, '/address', { 'x-forwarded-for': '10.9.8.7' });
      assert.deepEqual(found, hosts);
    },
    'query parameter and cookie hash alike': async (run) => {
      const header = await spread((user) => host(run, '/header', { 'x-user': user }));
      assert.equal(await spread((user) => host(run, `/query?a=b&user=${user}`)), header);
      assert.equal(await spread((user) => host(run, '/cookie', { cookie: `x=y; who=${user}` })), header);
      const answer = await run.get('/cookie');
      assert.equal(answer.headers['set-cookie'], undefined);
    },
    'a cookie is made': async (run) => {
      const answer = await run.get('/made');
      const [cookie] = answer.headers['set-cookie'] ?? [];
      assert.match(cookie ?? '', /^who="[0-9a-f]+"; Max-Age=60; Path=\/p; SameSite=Lax; Secure; HttpOnly$/);
      const value = /who="([^"]+)"/.exec(cookie ?? '')?.[1] ?? '';
      const again = await run.get('/made', { headers: { cookie: `who="${value}"` } });
      assert.equal(again.headers['set-cookie'], undefined);
      assert.equal(again.echo().backend, answer.echo().backend);
      const [session] = (await run.get('/session')).headers['set-cookie'] ?? [];
      assert.match(session ?? '', /^who="[0-9a-f]+"; HttpOnly$/);
    },
    'address of the client': async (run) => {
      const first = await host(run, '/address');
      for (let i = 0; i < 5; i++) assert.equal(await host(run, '/address'), first);
      await spread((user) => host(run, '/address', { 'x-forwarded-for': `10.0.0.${user.slice(4)}` }));
    },
    'several together; a terminal one ends the list': async (run) => {
      const header = await spread((user) => host(run, '/header', { 'x-user': user }));
      const both = await spread((user) => host(run, '/both?user=x', { 'x-user': user }));
      assert.notEqual(both, header);
      assert.equal(await spread((user) => host(run, '/terminal?user=x', { 'x-user': user })), header);
      assert.equal(await spread((user) => host(run, `/terminal?user=${user}`)), header);
    },
  },
});
