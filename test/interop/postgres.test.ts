/** PostgreSQL through the data plane: plain, and through mutual TLS between two listeners. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { chownSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { freePort } from '../../src/proxy/server/testing.ts';
import { needs } from '../harness/optional_parts.ts';
import { type TcpPair, startTcpPair } from './tcp_pair.ts';

const run = promisify(execFile);
const bin = globSync('/usr/lib/postgresql/*/bin').at(-1);
const skip = needs('PostgreSQL (package postgresql)', bin);
/** The server refuses to run as root. */
const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

describe('postgres', { skip, timeout: 90_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-postgres-'));
  let server: ChildProcess;
  let pair: TcpPair;
  const sql = async (port: number, ...args: string[]): Promise<string> => {
    const all = [
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      '-U',
      'mesh',
      '-d',
      'postgres',
      '-X',
      '-A',
      '-t',
      ...args,
    ];
    return (await run('psql', all, { timeout: 30_000, maxBuffer: 64 * 1024 * 1024 })).stdout.trim();
  };

  before(async () => {
    if (nobody.uid !== undefined) chownSync(directory, nobody.uid, nobody.gid);
    const data = join(directory, 'data');
    execFileSync(join(bin ?? '', 'initdb'), ['-D', data, '-U', 'mesh', '-A', 'trust', '--no-sync'], {
      ...nobody,
      cwd: directory,
      stdio: 'ignore',
      env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    });
    const port = await freePort();
    const options = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', directory, '-F'];
    server = spawn(join(bin ?? '', 'postgres'), options, { ...nobody, cwd: directory, stdio: 'ignore' });
    for (let i = 0; ; i++) {
      try {
        await sql(port, '-c', 'select 1');
        break;
      } catch (error) {
        if (i === 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    pair = await startTcpPair(port);
  });
  after(async () => {
    server.kill('SIGQUIT');
    await new Promise((resolve) => server.once('exit', resolve));
    await pair.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  for (const way of ['plain', 'mesh'] as const) {
    it(`queries and transactions, ${way}`, async () => {
      const port = pair.ports[way];
      const script = `create table t_${way} (n int, s text); insert into t_${way} select n, repeat('x', 1000) from generate_series(1, 5000) n;`;
      await sql(port, '-c', `begin; ${script} commit;`);
      assert.equal(await sql(port, '-c', `select count(*), sum(length(s)) from t_${way}`), '5000|5000000');
    });

    it(`a large result, ${way}`, async () => {
      const text = await sql(pair.ports[way], '-c', `select n, s from t_${way} order by n`);
      const lines = text.split('\n');
      assert.equal(lines.length, 5000);
      assert.ok(lines.every((line, i) => line === `${i + 1}|${'x'.repeat(1000)}`));
    });

    it(`asks for TLS of its own and goes on without, ${way}`, async () => {
      // psql sends SSLRequest first; the server answers one byte before anything else happens.
      const url = `postgresql://mesh@127.0.0.1:${pair.ports[way]}/postgres?sslmode=prefer`;
      assert.equal((await run('psql', ['-X', '-A', '-t', url, '-c', 'select 42'])).stdout.trim(), '42');
    });

    it(`a notification reaches a client that waits, ${way}`, async () => {
      const heard = sql(pair.ports[way], '-c', 'listen news', '-c', 'select pg_sleep(1)', '-c', 'select 1');
      await new Promise((resolve) => setTimeout(resolve, 300));
      await sql(pair.ports[way], '-c', "notify news, 'hello'");
      assert.match(await heard, /Asynchronous notification "news" with payload "hello"/);
    });
  }
});
