/** Redis through the data plane: plain, and through mutual TLS between two listeners. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { freePort } from '../../src/proxy/server/testing.ts';
import { needs } from '../harness/optional_parts.ts';
import { type TcpPair, startTcpPair } from './tcp_pair.ts';

const run = promisify(execFile);

function found(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const skip = needs(
  'redis-server and redis-cli (packages redis-server, redis-tools)',
  found('redis-server') && found('redis-cli'),
);

async function listens(port: number): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false)).on('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('redis-server does not listen');
}

describe('redis', { skip, timeout: 90_000 }, () => {
  let server: ChildProcess;
  let pair: TcpPair;
  before(async () => {
    const port = await freePort();
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    server = spawn('redis-server', args, { stdio: 'ignore' });
    await listens(port);
    pair = await startTcpPair(port);
  });
  after(async () => {
    server.kill('SIGKILL');
    await pair.stop();
  });
  const cli = async (port: number, ...args: string[]): Promise<string> =>
    (await run('redis-cli', ['-p', String(port), ...args], { timeout: 30_000 })).stdout.trim();

  for (const way of ['plain', 'mesh'] as const) {
    it(`commands, ${way}`, async () => {
      const port = pair.ports[way];
      assert.equal(await cli(port, 'set', 'k', 'v'), 'OK');
      assert.equal(await cli(port, 'get', 'k'), 'v');
      const big = 'x'.repeat(100_000);
      assert.equal(await cli(port, 'set', 'big', big), 'OK');
      assert.equal((await cli(port, 'get', 'big')).length, big.length);
    });

    it(`pipelines and many clients, ${way}`, async () => {
      const load = [
        '-p',
        String(pair.ports[way]),
        '-t',
        'set,get',
        '-n',
        '20000',
        '-c',
        '50',
        '-P',
        '16',
        '--csv',
      ];
      const { stdout } = await run('redis-benchmark', load, { timeout: 60_000 });
      assert.equal(stdout.match(/^"(?:SET|GET)"/gm)?.length, 2, stdout);
    });

    it(`publish and subscribe on connections that stay, ${way}`, async () => {
      const socket = connect(pair.ports[way], '127.0.0.1');
      let text = '';
      socket.on('data', (data: Buffer) => (text += data.toString()));
      socket.write('SUBSCRIBE news\r\n');
      for (let i = 0; i < 200 && !text.includes(':1\r\n'); i++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      assert.equal(await cli(pair.ports[way], 'publish', 'news', 'hello'), '1');
      for (let i = 0; i < 200 && !text.includes('hello'); i++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      assert.match(text, /message[^]*news[^]*hello/);
      socket.destroy();
    });
  }

  it('everything is counted, nothing stays open', async () => {
    let text = '';
    for (let i = 0; i < 200; i++) {
      text = await pair.stats();
      if (/^cluster\.app\.upstream_cx_active: 0$/m.test(text)) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.match(text, /^cluster\.app\.upstream_cx_active: 0$/m);
    for (const name of ['plain', 'out', 'in']) {
      const [, bytes] =
        new RegExp(`^tcp\\.${name}\\.downstream_cx_tx_bytes_total: (\\d+)$`, 'm').exec(text) ?? [];
      assert.ok(Number(bytes) > 200_000, `${name}: ${bytes}`);
    }
  });
});
