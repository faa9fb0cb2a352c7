import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const directory = mkdtempSync(join(tmpdir(), 'trysail-cli-'));
after(() => rmSync(directory, { recursive: true }));

const entry = new URL('../../bin/trysail', import.meta.url).pathname;

function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [entry, 'proxy', ...args], (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const yaml = (port: number, appPort: number): string => `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
    - name: in
      address: { socket_address: { address: 127.0.0.1, port_value: ${port} } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: in
                access_log:
                  - name: envoy.access_loggers.stdout
                    typed_config:
                      '@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
                      log_format: { text_format_source: { inline_string: "%REQ(:PATH)% ${'y'.repeat(300)}\\n" } }
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ['*']
                      routes: [{ match: { prefix: / }, route: { cluster: app } }]
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
    - name: app
      type: STATIC
      connect_timeout: 1s
      load_assignment:
        cluster_name: app
        endpoints:
          - lb_endpoints:
              - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${appPort} } } }
`;

test('validate: a good bootstrap, a bad one, a wrong call', async () => {
  const good = file('good.yaml', yaml(0, 1));
  assert.deepEqual(await run('-c', good, '--mode', 'validate'), {
    code: 0,
    stdout: `configuration '${good}' OK\n`,
    stderr: '',
  });
  const unknown = await run('-c', file('unknown.json', '{"admins": {}}'), '--mode', 'validate');
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /unknown\.json: .*admins/);
  const bad = await run(
    '-c',
    file('bad.yaml', yaml(0, 1).replace('http.router.v3.Router', 'http.wasm.v3.Wasm')),
    '--mode',
    'validate',
  );
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /listener in: .*envoy\.filters\.http\.router/);
  const missing = await run('-c', join(directory, 'none.yaml'));
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /cannot read .*none\.yaml/);
  assert.equal((await run()).code, 2);
  assert.equal((await run('-c', good, '--log-level', 'loud')).code, 2);
});

test(
  'a bootstrap that turns out bad behind a listener that is open ends the process',
  { timeout: 60_000 },
  async () => {
    const bad = `
    - name: bad
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains: [{ filters: [{ name: nobody.knows, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }] }]
  clusters:
`;
    const text = yaml(0, 1).replace('\n  clusters:\n', bad);
    for (const concurrency of ['1', '2']) {
      const { code, stderr } = await run('-c', file('late.yaml', text), '--concurrency', concurrency);
      assert.deepEqual([code, /listener bad: .*nobody\.knows/.test(stderr)], [1, true], stderr);
    }
  },
);

/** Waits until the port answers. */
async function untilServed(port: number, child: ChildProcess): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (child.exitCode !== null) throw new Error('the proxy has ended');
    const answered = await fetch(`http://127.0.0.1:${port}/first`).then(
      (response) => response.text(),
      () => undefined,
    );
    if (answered !== undefined) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the proxy does not answer');
}

for (const concurrency of ['1', '3']) {
  test(`lines of ${concurrency} workers on standard output are whole, and none is lost at the end`, async () => {
    const app = createServer((_request, response) => response.end('app'));
    app.listen(0, '127.0.0.1');
    await once(app, 'listening');
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const { port } = free.address() as AddressInfo;
    free.close();
    await once(free, 'close');
    const path = file('serve.yaml', yaml(port, (app.address() as AddressInfo).port));
    const child = spawn(
      process.execPath,
      [entry, 'proxy', '-c', path, '--concurrency', concurrency, '--log-level', 'warn'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      let output = '';
      child.stdout.setEncoding('utf8');
      child.stdout.on('data', (text: string) => (output += text));
      await untilServed(port, child);
      const requests = 600;
      const each = Array.from({ length: 12 }, async (_, client) => {
        for (let i = 0; i < requests / 12; i++) {
          const response = await fetch(`http://127.0.0.1:${port}/${client}-${i}`);
          await response.text();
        }
      });
      await Promise.all(each);
      child.kill('SIGTERM');
      const [code] = (await once(child, 'close')) as [number | null];
      assert.equal(code, 0);
      const lines = output.split('\n').filter((line) => line !== '' && !line.startsWith('/first'));
      assert.equal(lines.length, requests);
      assert.ok(lines.every((line) => /^\/\d+-\d+ y{300}$/.test(line)));
    } finally {
      child.kill('SIGKILL');
      app.close();
      app.closeAllConnections();
    }
  });
}
