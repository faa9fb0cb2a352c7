import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inClusterAccess } from './in_cluster.ts';
import { kubeConfigAccess } from './kube_config.ts';

const environment = { PATH: '/usr/bin:/bin' };
const base64 = (text: string): string => Buffer.from(text).toString('base64');

function folder(t: TestContext): (name: string, text: string) => string {
  const directory = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return (name, text) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o700 });
    return path;
  };
}

const cluster = { server: 'https://10.0.0.1:6443/' };

function config(user: object, more: object = {}, currentContext = 'main'): string {
  return JSON.stringify({
    clusters: [{ name: 'c', cluster: { ...cluster, ...more } }],
    users: [{ name: 'u', user }],
    contexts: [
      { name: 'main', context: { cluster: 'c', user: 'u', namespace: 'apps' } },
      { name: 'other', context: { cluster: 'c', user: '' } },
    ],
    'current-context': currentContext,
  });
}

test('certificates as data and as files beside the kubeconfig', async (t) => {
  const write = folder(t);
  write('client.pem', 'CERT');
  const path = write(
    'config',
    config(
      { 'client-certificate': 'client.pem', 'client-key-data': base64('KEY') },
      { 'certificate-authority-data': base64('CA'), 'tls-server-name': 'kubernetes' },
    ),
  );
  const access = await kubeConfigAccess({ paths: [path], environment });
  assert.equal(access.server, 'https://10.0.0.1:6443');
  assert.equal(access.namespace, 'apps');
  assert.equal(access.verify, true);
  assert.equal(access.tlsServerName, 'kubernetes');
  assert.deepEqual(await access.material(), { ca: 'CA', cert: 'CERT', key: 'KEY' });
  const other = await kubeConfigAccess({ paths: [path], context: 'other', environment });
  assert.deepEqual(await other.material(), { ca: 'CA' });
  assert.equal(other.namespace, 'default');
});

test('of several files the first entry of a name counts; absent files are skipped', async (t) => {
  const write = folder(t);
  const paths = [
    '/nonexistent/config',
    write('one', JSON.stringify({ users: [{ name: 'u', user: { token: 'one' } }] })),
    write('two', config({ token: 'two' })),
  ];
  const access = await kubeConfigAccess({ paths, environment });
  assert.deepEqual(await access.material(), { token: 'one' });
});

test('a token file is read again after a refusal', async (t) => {
  const write = folder(t);
  write('token', 'first\n');
  const access = await kubeConfigAccess({
    paths: [write('config', config({ tokenFile: 'token' }))],
    environment,
  });
  assert.deepEqual(await access.material(), { token: 'first' });
  write('token', 'second\n');
  assert.deepEqual(await access.material(), { token: 'first' });
  access.refresh();
  assert.deepEqual(await access.material(), { token: 'second' });
});

test('what is not supported is refused by name', async (t) => {
  const write = folder(t);
  for (const [text, message] of [
    [config({ 'auth-provider': { name: 'gcp' } }), /user u: auth-provider is not supported/],
    [config({ username: 'a', password: 'b' }), /user u: username is not supported/],
    [config({ as: 'root' }), /user u: as is not supported/],
    [config({}, { 'proxy-url': 'http://p' }), /cluster c: proxy-url is not supported/],
    [config({}, { server: 'ftp://x' }), /server is not an https URL/],
    [config({ 'client-certificate-data': base64('C') }), /go together/],
    [config({ exec: { apiVersion: 'v1alpha1', command: 'x' } }), /apiVersion v1alpha1/],
    [config({ exec: { command: 'x', interactiveMode: 'Always' } }), /interactiveMode Always/],
    [config({}, {}, 'nowhere'), /no context nowhere/],
    [config({}, {}, ''), /no current-context/],
    ['[1]', /holds no object/],
    ['{', /is no YAML/],
  ] as const) {
    await assert.rejects(kubeConfigAccess({ paths: [write('config', text)], environment }), message);
  }
  await assert.rejects(kubeConfigAccess({ paths: ['/nonexistent/config'], environment }), /cannot be read/);
});

test('the account of a pod: its token is read again, and survives a moment without file', async (t) => {
  const write = folder(t);
  const directory = join(write('token', 'one'), '..');
  write('ca.crt', 'CA');
  write('namespace', 'istio-system\n');
  let now = 0;
  const access = await inClusterAccess({ host: 'fd00::1', port: '443', directory, now: () => now });
  assert.equal(access.server, 'https://[fd00::1]:443');
  assert.equal(access.namespace, 'istio-system');
  write('token', 'two');
  assert.deepEqual(await access.material(), { token: 'one', ca: 'CA' });
  now = 31_000;
  assert.deepEqual(await access.material(), { token: 'two', ca: 'CA' });
  rmSync(join(directory, 'token'));
  access.refresh();
  assert.deepEqual(await access.material(), { token: 'two', ca: 'CA' });
});
