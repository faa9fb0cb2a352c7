/** Filters of users: the sample of samples/typescript_filter, and filters that misbehave, on a running proxy. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort } from '../../src/proxy/server/testing.ts';
import { send } from '../harness/http_request.ts';
import { packageRoot } from '../harness/mesh_process.ts';

const sample = join(packageRoot, 'samples', 'typescript_filter');

const misbehaving = `
export default (config) => ({
  createFilter: (callbacks) => ({
    decodeHeaders(headers) {
      if (headers.path === '/throw') throw new Error('on purpose');
      if (headers.path === '/slow') for (const end = performance.now() + 20; performance.now() < end;);
      headers.set('x-seen', 'yes');
      return 0;
    },
    encodeHeaders(headers) {
      headers.set('x-filter', config.mark);
    },
  }),
});
`;

class Proxy {
  readonly directory = mkdtempSync(join(tmpdir(), 'trysail-filter-'));
  port = 0;
  admin = 0;
  log = '';
  #child: ChildProcess | undefined;

  async start(filter: { path: string; value: string }, concurrency = 2): Promise<void> {
    this.port = await freePort();
    this.admin = await freePort();
    const yaml = readFileSync(join(sample, 'proxy.yaml'), 'utf8')
      .replace('port_value: 15000', `port_value: ${this.admin}`)
      .replace('port_value: 8080', `port_value: ${this.port}`)
      .replace('path: PATH_OF_THE_FILTER', `path: ${filter.path}`)
      .replace('config: { header: x-took-ms, closed: [/admin] }', filter.value)
      .replace('is_optional: true', 'is_optional: false');
    const file = join(this.directory, 'proxy.yaml');
    writeFileSync(file, yaml);
    const child = spawn(
      process.execPath,
      [join(packageRoot, 'bin/trysail'), 'proxy', '-c', file, '--concurrency', String(concurrency)],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (this.log += text));
    let ended = false;
    child.on('exit', () => (ended = true));
    for (let i = 0; i < 600; i++) {
      if (ended) throw new Error(this.log);
      if ((await send(this.admin, '/ready').catch(() => undefined))?.status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`not ready: ${this.log}`);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  async stat(name: string): Promise<number> {
    const { body } = await send(this.admin, '/stats/prometheus');
    return Number(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, 'm').exec(body)?.[1] ?? 0);
  }
}

describe('the sample', () => {
  const proxy = new Proxy();
  before(() => proxy.start({ path: join(sample, 'maintenance.ts'), value: 'config: { closed: [/admin] }' }));
  after(() => proxy.stop());

  it('answers what is closed, and stamps the rest', async () => {
    const closed = await send(proxy.port, '/admin/x');
    assert.deepEqual(
      [closed.status, closed.body, closed.headers['retry-after']],
      [503, 'back soon\n', '120'],
    );
    const open = await send(proxy.port, '/');
    assert.equal(open.status, 200);
    assert.match(String(open.headers['x-took-ms']), /^\d+\.\d$/);
  });
});

for (const failure of ['open', 'closed'] as const) {
  describe(`a filter that throws and dawdles, ${failure}`, () => {
    const proxy = new Proxy();
    before(async () => {
      const path = join(proxy.directory, 'misbehaving.ts');
      writeFileSync(path, misbehaving, { mode: 0o644 });
      await proxy.start({ path, value: `failure: ${failure}\n${' '.repeat(24)}config: { mark: here }` });
    });
    after(() => proxy.stop());

    it('harms its own request at most', async () => {
      assert.equal((await send(proxy.port, '/')).headers['x-filter'], 'here');
      assert.equal((await send(proxy.port, '/throw')).status, failure === 'open' ? 200 : 500);
      assert.equal((await send(proxy.port, '/')).status, 200);
      assert.equal(await proxy.stat('envoy_typescript_filter_errors'), 1);
      assert.match(proxy.log, /on purpose/);
    });

    it('is switched off and named when it takes too long', async () => {
      // each of the two workers counts for itself
      for (let i = 0; i < 60; i++) await send(proxy.port, '/slow');
      assert.match(proxy.log, /switched off: it takes too long.*maintenance/);
      const { status, headers } = await send(proxy.port, '/slow');
      assert.deepEqual(
        [status, headers['x-filter']],
        failure === 'open' ? [200, undefined] : [500, undefined],
      );
      assert.ok((await proxy.stat('envoy_typescript_filter_switched_off')) >= 1);
    });
  });
}

it('what cannot be run is refused with its reason', async () => {
  const cases: [string, string, number, RegExp][] = [
    ['relative.ts', '{}', 2, /path "relative\.ts" is not absolute/],
    ['/no/such/file.ts', '{}', 2, /no such file/],
    [join(sample, 'maintenance.ts'), '{ header: 5 }', 2, /header: expected the name of a header/],
    [join(sample, 'maintenance.ts'), '{}', 1, /worker threads only: start the proxy with --concurrency 2/],
  ];
  for (const [path, config, concurrency, expected] of cases) {
    const proxy = new Proxy();
    try {
      await assert.rejects(proxy.start({ path, value: `config: ${config}` }, concurrency), expected);
    } finally {
      await proxy.stop();
    }
  }
});
