/** Istio's own bookinfo YAML, as it is published, on this machine. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../harness/mesh_process.ts';
import { needs } from '../harness/optional_parts.ts';

const testData = process.env['TRYSAIL_TESTDATA'] ?? join(packageRoot, '..', 'shared', 'istio-testdata');
const bookinfo = join(testData, 'samples', 'files', 'bookinfo');

test(
  "Istio's bookinfo runs unchanged",
  { timeout: 240_000, skip: needs(`Istio's test data (${testData})`, existsSync(bookinfo)) },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'trysail-test-'));
    const files = [
      'platform/kube/bookinfo.yaml',
      'networking/bookinfo-gateway.yaml',
      'networking/destination-rule-all.yaml',
      'networking/virtual-service-reviews-80-20.yaml',
    ];
    const child = spawn(
      process.execPath,
      [
        join(packageRoot, 'bin', 'trysail.ts'),
        'up',
        ...files.map((file) => join(bookinfo, file)),
        '--apps',
        join(packageRoot, 'samples', 'bookinfo', 'trysail.yaml'),
        '--capture',
        'off',
        '--check',
        '--name',
        'istio-bookinfo',
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, XDG_RUNTIME_DIR: directory, XDG_STATE_HOME: directory },
      },
    );
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (said += text));
    const code = await new Promise((resolve) => child.once('exit', resolve));
    rmSync(directory, { recursive: true, force: true });
    assert.equal(code, 0, said);
    assert.match(said, /ok {3}200 of 200 requests answered 200/);
    assert.match(said, /reviews spread over versions: v1 \d+ \(weight 80 %\), v2 \d+ \(weight 20 %\)/);
  },
);
