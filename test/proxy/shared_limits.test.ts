/** A limit holds for the process, whichever of its workers a connection lands on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../src/proxy/server/testing.ts';
import { send } from '../harness/http_request.ts';
import { packageRoot } from '../harness/mesh_process.ts';

const extensions = 'type.googleapis.com/envoy.extensions.filters';
const connectionManager = `${extensions}.network.http_connection_manager.v3.HttpConnectionManager`;
const always = '{ default_value: { numerator: 100 } }';

function bootstrap(admin: number, port: number): string {
  return `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: ${admin} } } }
static_resources:
  listeners:
    - name: in
      address: { socket_address: { address: 127.0.0.1, port_value: ${port} } }
      filter_chains:
        - filters:
            - name: http
              typed_config:
                '@type': ${connectionManager}
                stat_prefix: in
                route_config:
                  name: routes
                  virtual_hosts: [{ name: all, domains: ['*'], routes: [{ match: { prefix: / }, direct_response: { status: 200 } }] }]
                http_filters:
                  - name: limit
                    typed_config:
                      '@type': ${extensions}.http.local_ratelimit.v3.LocalRateLimit
                      stat_prefix: limit
                      token_bucket: { max_tokens: 12, tokens_per_fill: 12, fill_interval: 3600s }
                      filter_enabled: ${always}
                      filter_enforced: ${always}
                  - name: router
                    typed_config: { '@type': ${extensions}.http.router.v3.Router }
`;
}

test('two workers take from one bucket', { timeout: 60_000 }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-limits-'));
  const [admin, port] = [await freePort(), await freePort()];
  const file = join(directory, 'bootstrap.yaml');
  writeFileSync(file, bootstrap(admin, port));
  const command = [join(packageRoot, 'bin', 'trysail'), 'proxy', '-c', file, '--concurrency', '2'];
  const child = spawn(process.execPath, command, { stdio: 'ignore' });
  const gone = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await gone;
    rmSync(directory, { recursive: true, force: true });
  });
  while ((await send(admin, '/ready').catch(() => undefined))?.status !== 200) await sleep(50);
  const statuses: number[] = [];
  // Each request has a connection of its own: the kernel spreads them over both.
  for (let i = 0; i < 40; i++) statuses.push((await send(port)).status);
  assert.equal(statuses.filter((status) => status === 200).length, 12);
  assert.equal(statuses.filter((status) => status === 429).length, 28);
});
