/**
 * The conformance suite of HTTP/2, h2spec in strict mode, against `trysail proxy` with an application behind it: all of its
 * cases must pass. The suite is a Go program: `GOBIN=$PWD/.cache/h2spec go install
 * github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible`, or H2SPEC names it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { freePort } from '../../src/proxy/server/testing.ts';
import { dataPlaneCommand } from '../harness/conformance.ts';
import { EchoBackend } from '../harness/echo_backend.ts';
import { send } from '../harness/http_request.ts';
import { packageRoot } from '../harness/mesh_process.ts';
import { needs } from '../harness/optional_parts.ts';

function h2specPath(): string | undefined {
  const candidates = [process.env['H2SPEC'], join(packageRoot, '.cache/h2spec/h2spec')];
  return candidates.find((path) => path !== undefined && existsSync(path));
}

function bootstrap(admin: number, listener: number, application: number, streamErrors: boolean): string {
  return JSON.stringify({
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: admin } } },
    static_resources: {
      listeners: [
        {
          name: 'in',
          address: { socket_address: { address: '127.0.0.1', port_value: listener } },
          filter_chains: [
            {
              filters: [
                {
                  name: 'envoy.filters.network.http_connection_manager',
                  typed_config: {
                    '@type':
                      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                    stat_prefix: 'in',
                    codec_type: 'HTTP2',
                    http2_protocol_options: {
                      max_concurrent_streams: 100,
                      override_stream_error_on_invalid_http_message: streamErrors,
                    },
                    route_config: {
                      name: 'routes',
                      virtual_hosts: [
                        {
                          name: 'all',
                          domains: ['*'],
                          routes: [{ match: { prefix: '/' }, route: { cluster: 'app' } }],
                        },
                      ],
                    },
                    http_filters: [
                      {
                        name: 'envoy.filters.http.router',
                        typed_config: {
                          '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
                        },
                      },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'app',
          type: 'STATIC',
          load_assignment: {
            cluster_name: 'app',
            endpoints: [
              {
                lb_endpoints: [
                  {
                    endpoint: {
                      address: { socket_address: { address: '127.0.0.1', port_value: application } },
                    },
                  },
                ],
              },
            ],
          },
        },
      ],
    },
  });
}

/** Starts the proxy; gives the port of its listener. */
async function startProxy(t: TestContext, streamErrors: boolean): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-h2spec-'));
  const application = await EchoBackend.start('app');
  const [admin, listener] = [await freePort(), await freePort()];
  const file = join(directory, 'bootstrap.json');
  writeFileSync(file, bootstrap(admin, listener, application.port, streamErrors));
  const log = openSync(join(directory, 'proxy.log'), 'a');
  const [command = '', ...args] = dataPlaneCommand('trysail', file);
  const child: ChildProcess = spawn(command, args, { stdio: ['ignore', log, log] });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
    await application.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  for (let i = 0; ; i++) {
    const ready = await send(admin, '/ready').catch(() => undefined);
    if (ready?.status === 200) return listener;
    if (i === 1000 || child.exitCode !== null)
      assert.fail(`the proxy is not ready: ${readFileSync(join(directory, 'proxy.log'), 'utf8')}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const streamErrors of [false, true]) {
  const kind = streamErrors ? 'the stream' : 'the connection';
  test(
    `h2spec --strict passes whole where malformed messages end ${kind}`,
    {
      skip: needs('h2spec (go install github.com/summerwind/h2spec/cmd/h2spec)', h2specPath()),
      timeout: 180_000,
    },
    async (t) => {
      const port = await startProxy(t, streamErrors);
      const output = await new Promise<string>((resolve) => {
        const args = ['--strict', '-h', '127.0.0.1', '-p', String(port), '-o', '5'];
        execFile(h2specPath() ?? '', args, { maxBuffer: 4 << 20 }, (_error, stdout) => resolve(stdout));
      });
      assert.match(
        output,
        /^\d+ tests, (\d+) passed, 0 skipped, 0 failed$/m,
        output.slice(output.indexOf('Failures')),
      );
      assert.ok(Number(/(\d+) passed/.exec(output)?.[1]) >= 140, 'fewer cases than the suite has');
    },
  );
}
