/** The second terminal: status, logs, exec, down; and `--check` in every mode that this machine can run. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { detectCapture } from '../../src/local/network/detect.ts';
import { MeshProcess, packageRoot } from '../harness/mesh_process.ts';
import { needs } from '../harness/optional_parts.ts';

interface Output {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function trysail(args: readonly string[], env: Record<string, string> = {}): Promise<Output> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(packageRoot, 'bin', 'trysail.ts'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk));
    child.on('exit', (code) => resolve({ code, out, err }));
  });
}

const capture = await detectCapture();
const needsCapture = needs(
  'packet capture (root or user namespaces, iptables, iproute2)',
  capture.mode === 'capture',
);

describe('a second terminal', () => {
  for (const mode of ['off', 'on'] as const) {
    test(
      `status, logs, exec, down with capture ${mode}`,
      { timeout: 240_000, skip: mode === 'on' ? needsCapture : false },
      async () => {
        const mesh = new MeshProcess({ args: ['--capture', mode, '--traffic', '10'] });
        const env = { XDG_RUNTIME_DIR: mesh.directory, XDG_STATE_HOME: mesh.directory };
        const call = (...args: string[]): Promise<Output> =>
          trysail([args[0] ?? '', '--name', mesh.name, ...args.slice(1)], env);
        try {
          await mesh.ready();
          const status = await call('status');
          assert.equal(status.code, 0, status.err);
          assert.match(status.out, /POD +VERSION +ADDRESS +IDENTITY +XDS +STATE/);
          assert.match(
            status.out,
            /reviews-v2-\S+ +v2 +\S+ +spiffe:\/\/cluster\.local\/ns\/default\/sa\/bookinfo-reviews +SYNCED +ready/,
          );
          await mesh.until(() => mesh.accessLog('details').length > 0, 'an access log line');
          const logs = await call('logs', 'details-v1', '-c', 'istio-proxy');
          assert.match(logs.out, /"GET \/details\/0 HTTP\/1\.1" 200 - via_upstream/);
          const exec = await call('exec', 'productpage', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7');
          assert.deepEqual([exec.code, exec.out, exec.err], [7, 'out\n', 'err\n']);
          assert.equal((await call('logs', 'nobody')).code, 1);
          const down = await call('down');
          assert.equal(down.code, 0, down.err);
          assert.equal(await mesh.exited, 0);
          const after = await call('status');
          assert.equal(after.code, 1);
          assert.match(after.err, /no mesh runs here/);
        } finally {
          await mesh.stop();
        }
      },
    );

    test(
      `--check with capture ${mode}`,
      { timeout: 240_000, skip: mode === 'on' ? needsCapture : false },
      async () => {
        const mesh = new MeshProcess({ args: ['--capture', mode, '--check'] });
        try {
          assert.equal(
            await mesh.exited,
            0,
            `${mesh.events.map((event) => JSON.stringify(event)).join('\n')}\n${mesh.stderr.join('')}`,
          );
          const said = mesh.events.map(({ message }) => String(message)).join('\n');
          assert.match(said, /ok {3}200 of 200 requests answered 200/);
          assert.match(said, /ok {3}reviews spread over versions: v1 \d+.*v2 \d+.*v3 \d+/);
          assert.match(said, /ok {3}mutual TLS on (\d+) of \1 requests between sidecars/);
          if (mode === 'on') assert.match(said, /ok {3}.*plain ?text/i);
        } finally {
          await mesh.stop();
        }
      },
    );
  }

  test('own ports where the machine has one loopback address', { timeout: 240_000 }, async () => {
    const mesh = new MeshProcess({ args: ['--capture', 'off', '--one-address', '--check'] });
    try {
      assert.equal(await mesh.exited, 0, mesh.events.map((event) => JSON.stringify(event)).join('\n'));
    } finally {
      await mesh.stop();
    }
  });
});
