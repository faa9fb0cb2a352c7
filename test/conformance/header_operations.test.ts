/** Header rules of route configurations, virtual hosts and routes. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import { type RequestOptions, send } from '../harness/http_request.ts';

async function both(
  run: Run,
  path: string,
  headers: NonNullable<RequestOptions['headers']> = {},
  port = 'in',
) {
  const answer = await send(run.port(port), path, { headers });
  return { request: answer.echo().headers, response: answer.headers };
}

const old = { 'x-append': 'old', 'x-absent': 'old', 'x-overwrite': 'old', 'x-only': 'old' };
const actions = ['x-append', 'x-absent', 'x-overwrite', 'x-only'];

conformance(import.meta.filename, {
  rows: ['5.25'],
  cases: {
    'the four actions, headers absent': async (run) => {
      const { request, response } = await both(run, '/actions');
      assert.deepEqual(
        actions.map((name) => request[name]),
        ['new', 'new', 'new', undefined],
      );
      assert.deepEqual(
        actions.map((name) => response[name]),
        ['new', 'new', 'new', undefined],
      );
    },
    'the four actions, headers present': async (run) => {
      const { request } = await both(run, '/actions', old);
      assert.deepEqual(
        actions.map((name) => request[name]),
        ['old, new', 'old', 'new', 'new'],
      );
      for (const [name, value] of [
        ['x-append', 'old, new'],
        ['x-absent', 'old'],
        ['x-overwrite', 'new'],
        ['x-only', 'new'],
      ] as const) {
        const { response } = await both(run, '/actions', { 'x-want-header': `${name}: old` });
        assert.equal(response[name], value, name);
      }
    },
    'empty values': async (run) => {
      const { request } = await both(run, '/empty');
      assert.deepEqual([request['x-kept'], request['x-lost'], request['x-kept-format']], ['', undefined, '']);
    },
    'removal comes first': async (run) => {
      const { request, response } = await both(run, '/remove', {
        'x-drop': '1',
        'x-drop-host': '1',
        'x-drop-config': '1',
        'x-want-header': 'x-drop: 1',
      });
      for (const name of ['x-drop', 'x-drop-host', 'x-drop-config'])
        assert.equal(request[name], undefined, name);
      assert.equal(response['x-drop'], undefined);
      const again = await both(run, '/drop-add', { 'x-both': 'old' });
      assert.equal(again.request['x-both'], 'new');
    },
    'order of the levels': async (run) => {
      const first = await both(run, '/plain');
      assert.deepEqual([first.request['x-order'], first.request['x-set']], ['route, host, config', 'config']);
      assert.deepEqual(
        [first.response['x-order'], first.response['x-set']],
        ['route, host, config', 'config'],
      );
      const specific = await both(run, '/plain', {}, 'specific');
      assert.deepEqual(
        [specific.request['x-order'], specific.request['x-set']],
        ['config, host, route', 'route'],
      );
      assert.deepEqual(
        [specific.response['x-order'], specific.response['x-set']],
        ['config, host, route', 'route'],
      );
      // Each level removes, then adds: what a later level removes is gone.
      assert.equal((await both(run, '/remove', {}, 'specific')).request['x-set'], undefined);
      assert.equal((await both(run, '/remove')).request['x-set'], 'config');
    },
    'formats of requests': async (run) => {
      const { request } = await both(run, '/formats/x?q=one', { 'x-some': 'value', host: 'shop.example' });
      const wanted: Record<string, string | undefined> = {
        'x-protocol': 'HTTP/1.1',
        'x-path': '/formats/x?q=one',
        'x-method': 'GET',
        'x-alt': 'value',
        'x-cut': 'val',
        'x-host': 'shop.example',
        'x-cluster': 'app',
        'x-route': 'formats',
        'x-percent': '100%',
        'x-missing': undefined,
        'x-mixed': 'a-value-b',
        'x-remote': '127.0.0.1',
        'x-port': String(run.port('in')),
        'x-year': String(new Date().getUTCFullYear()),
        'x-meta': 'blue',
        'x-query': 'one',
        'x-bare': '/formats/x',
      };
      assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((name) => [name, request[name]])), wanted);
    },
    'formats of responses': async (run) => {
      const { response } = await both(run, '/formats', { 'x-some': 'value', 'x-want-header': 'x-from: me' });
      const wanted: Record<string, string> = {
        'x-code': '200',
        'x-details': 'via_upstream',
        'x-flags': '-',
        'x-backend': 'me',
        'x-upstream': `127.0.0.1:${run.port('app')}`,
        'x-req': 'value',
        'x-attempts': '1',
      };
      assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((name) => [name, response[name]])), wanted);
    },
  },
});
