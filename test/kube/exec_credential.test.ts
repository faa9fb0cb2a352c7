/** Credentials from a program that a kubeconfig names. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { execCredential } from '#kube/exec_credential.ts';

function program(t: TestContext, body: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'exec-credential-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'get-token');
  writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o700 });
  return path;
}

const options = {
  args: ['one'],
  env: { EXTRA: 'two' },
  apiVersion: 'client.authentication.k8s.io/v1',
  environment: process.env,
  directory: tmpdir(),
};

const count = 'echo x >> "$0.runs"; n=$(grep -c x "$0.runs");';

test('runs once until the credential ends or is refused; calls at one time share a run', async (t) => {
  const command = program(
    t,
    `${count} echo '{"kind":"ExecCredential","status":{"token":"'$1-$EXTRA-$n'","expirationTimestamp":"2030-01-01T00:10:00Z"}}'`,
  );
  let now = Date.parse('2030-01-01T00:00:00Z');
  const source = execCredential({ ...options, command, now: () => now });
  const [a, b] = await Promise.all([source.material(), source.material()]);
  assert.deepEqual([a, b], [{ token: 'one-two-1' }, { token: 'one-two-1' }]);
  now += 9 * 60_000;
  assert.deepEqual(await source.material(), { token: 'one-two-1' });
  now += 45_000;
  assert.deepEqual(await source.material(), { token: 'one-two-2' });
  source.refresh();
  assert.deepEqual(await source.material(), { token: 'one-two-3' });
});

test('tells the cluster to programs that ask, and takes client certificates', async (t) => {
  const command = program(
    t,
    `case "$KUBERNETES_EXEC_INFO" in *'"server":"https://k"'*) echo '{"kind":"ExecCredential","status":{"clientCertificateData":"C","clientKeyData":"K"}}';; esac`,
  );
  const source = execCredential({ ...options, command, cluster: { server: 'https://k' } });
  assert.deepEqual(await source.material(), { cert: 'C', key: 'K' });
});

test('programs that fail, print nonsense or are not there are named', async (t) => {
  for (const [body, message] of [
    ['exit 3', /ended with status 3/],
    ['echo hello', /printed no JSON/],
    ['echo "{}"', /printed no ExecCredential/],
    [`echo '{"kind":"ExecCredential","status":{"clientKeyData":"K"}}'`, /printed no ExecCredential/],
    ['head -c 3000000 /dev/zero', /printed too much/],
  ] as const) {
    await assert.rejects(execCredential({ ...options, command: program(t, body) }).material(), message);
  }
  await assert.rejects(execCredential({ ...options, command: '/nonexistent/tool' }).material(), /ENOENT/);
});
