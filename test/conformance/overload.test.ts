/** Overload actions and the global limit of connections (envoy.config.overload.v3.OverloadManager). */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { join } from 'node:path';
import { type Run, conformance } from '../harness/conformance.ts';
import { send } from '../harness/http_request.ts';

const resources = ['requests', 'keepalive', 'accept', 'reject'];

/** Envoy watches for files that are moved into place. */
function set(directory: string, resource: string, pressure: string): void {
  const path = join(directory, resource);
  writeFileSync(`${path}.new`, pressure);
  renameSync(`${path}.new`, path);
}

async function until(test: () => Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; !(await test()); i++) {
    assert.ok(i < 250, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function press(run: Run, resource: string, pressure: string): Promise<void> {
  set(run.directory, resource, pressure);
  const percent = Math.round(Number(pressure) * 100);
  await until(
    async () => (await run.stat(`overload.${resource}.pressure`)) === percent,
    `${resource} at ${pressure}`,
  );
}

/** A connection that has sent a request; `answer` is what came back until it was told or closed. */
async function dial(
  port: number,
): Promise<{ socket: Socket; received: () => string; closed: Promise<unknown> }> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1');
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  return { socket, received: () => text, closed };
}

conformance(import.meta.filename, {
  rows: ['6.13'],
  setUp(directory) {
    for (const resource of resources) set(directory, resource, '0');
    return {};
  },
  cases: {
    'stop_accepting_requests: 503 while it is on': async (run) => {
      assert.equal((await run.get('/')).status, 200);
      await press(run, 'requests', '0.95');
      const refused = await run.get('/');
      assert.equal(`${refused.status} ${refused.body}`, '503 envoy overloaded');
      const lines = await run.lines('access.log', 2);
      assert.deepEqual(lines, ['200 - via_upstream', '503 - overload']);
      assert.ok((await run.stat('http.in.downstream_rq_overload_close')) >= 1);
      const action = 'overload.envoy.overload_actions.stop_accepting_requests';
      assert.equal(await run.stat(`${action}.active`), 1);
      assert.equal(await run.stat(`${action}.scale_percent`), 100);
      await press(run, 'requests', '0');
      assert.equal((await run.get('/')).status, 200);
      assert.equal(await run.stat(`${action}.active`), 0);
    },
    'disable_http_keepalive: answers end their connections, scaled below saturation': async (run) => {
      await press(run, 'keepalive', '0.9');
      assert.equal(
        (await run.get('/', { headers: { connection: 'keep-alive' } })).headers['connection'],
        'close',
      );
      assert.ok((await run.stat('http.in.downstream_cx_overload_disable_keepalive')) >= 1);
      await press(run, 'keepalive', '0.7');
      const action = 'overload.envoy.overload_actions.disable_http_keepalive';
      assert.equal(await run.stat(`${action}.active`), 0);
      assert.equal(await run.stat(`${action}.scale_percent`), 50);
      await press(run, 'keepalive', '0');
    },
    'stop_accepting_connections: who connects waits, who is connected goes on': async (run) => {
      const before = await dial(run.port('in'));
      await until(async () => before.received().includes('200 OK'), 'the first answer');
      await press(run, 'accept', '1');
      await new Promise((resolve) => setTimeout(resolve, 200));
      const waiting = await dial(run.port('in'));
      before.socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
      await until(async () => before.received().split('200 OK').length === 3, 'the second answer');
      assert.equal(waiting.received(), '');
      await press(run, 'accept', '0');
      await until(async () => waiting.received().includes('200 OK'), 'the answer of who waited');
      before.socket.destroy();
      waiting.socket.destroy();
    },
    'reject_incoming_connections: who connects is turned away': async (run) => {
      const stat = `listener.127.0.0.1_${run.port('in')}.downstream_cx_overload_reject`;
      await press(run, 'reject', '1');
      await new Promise((resolve) => setTimeout(resolve, 200));
      const refused = await dial(run.port('in'));
      await refused.closed;
      assert.equal(refused.received(), '');
      assert.equal(await run.stat(stat), 1);
      await press(run, 'reject', '0');
      assert.equal((await run.get('/')).status, 200);
    },
    'connections past the global limit are closed, listeners that ignore it take them': async (run) => {
      const stat = `listener.127.0.0.1_${run.port('in')}.downstream_global_cx_overflow`;
      const open: Awaited<ReturnType<typeof dial>>[] = [];
      for (let i = 0; i < 3; i++) open.push(await dial(run.port('in')));
      await until(async () => open.every(({ received }) => received().includes('200 OK')), 'three answers');
      const fourth = await dial(run.port('in'));
      await fourth.closed;
      assert.equal(fourth.received(), '');
      assert.equal(await run.stat(stat), 1);
      assert.equal((await send(run.port('free'))).status, 200);
      for (const { socket, closed } of open) {
        socket.destroy();
        await closed;
      }
      await until(async () => {
        const fifth = await dial(run.port('in'));
        await Promise.race([fifth.closed, until(async () => fifth.received() !== '', 'an answer')]);
        fifth.socket.destroy();
        return fifth.received().includes('200 OK');
      }, 'room again');
    },
  },
});
