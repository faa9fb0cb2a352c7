/** The nginx Deployment of the sample, as Istio 1.8.1 injected it: every line, in its order. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { trysail } from './cases.ts';

const sample = join(import.meta.dirname, '../../samples/nginx/nginx-deployment.yaml');
const golden = readFileSync(join(import.meta.dirname, 'nginx_1_8.golden.yaml'), 'utf8');

test('kube-inject --compatibility-version 1.8 gives every line of the pod of Istio 1.8.1', async () => {
  const args = ['kube-inject', '--compatibility-version', '1.8', '-f', sample];
  const { code, stdout, stderr } = await trysail(args, '.');
  assert.equal(code, 0, stderr);
  const wanted = golden.split('\n').filter((line) => line !== '' && line !== '...');
  const lines = stdout.split('\n');
  // Lines may stand between those of the golden file, which leaves parts out; their order is the same.
  let at = 0;
  for (const line of wanted) {
    const found = lines.indexOf(line, at);
    assert.notEqual(found, -1, `no line ${JSON.stringify(line)} behind line ${at} of\n${stdout}`);
    at = found + 1;
  }
});

test('injecting it again changes nothing', async () => {
  const args = ['kube-inject', '--compatibility-version', '1.8', '-f', '-'];
  const { stdout } = await trysail([...args.slice(0, -1), sample], '.');
  assert.notEqual(stdout, '');
  const { spawnSync } = await import('node:child_process');
  const launcher = join(import.meta.dirname, '../../bin/trysail');
  const again = spawnSync(process.execPath, [launcher, ...args], {
    input: stdout,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(again.stdout, stdout);
});
