/**
 * grpc-go's interop client against grpc-go's interop server, through our data plane: plain, and through a pair with mutual
 * TLS. The two are Go programs: `GOBIN=$PWD/.cache/grpc-go go install google.golang.org/grpc/interop/client@latest
 * google.golang.org/grpc/interop/server@latest`.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../src/proxy/server/testing.ts';
import { packageRoot } from '../harness/mesh_process.ts';
import { needs } from '../harness/optional_parts.ts';
import { type GrpcPair, startGrpcPair } from './grpc_pair.ts';

const folder = join(packageRoot, '.cache/grpc-go');
const found = ['client', 'server'].every((name) => existsSync(join(folder, name))) ? folder : undefined;

/** Cases of the interop suite that need no TLS or credentials of their own. */
const cases = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'timeout_on_sleeping_server',
  'cancel_after_begin',
  'cancel_after_first_response',
  'custom_metadata',
  'status_code_and_message',
  'special_status_message',
  'unimplemented_method',
  'unimplemented_service',
];

async function listens(port: number): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('the interop server does not listen');
}

describe(
  'grpc-go interop',
  { skip: needs('grpc-go interop client and server (go install google.golang.org/grpc/interop/...)', found) },
  () => {
    let server: ChildProcess;
    let pair: GrpcPair;

    before(async () => {
      const port = await freePort();
      server = spawn(join(folder, 'server'), ['-port', String(port)], { stdio: 'ignore' });
      await listens(port);
      pair = await startGrpcPair(port);
    });
    after(async () => {
      const gone = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGKILL');
      await gone;
      await pair.stop();
    });

    for (const way of ['plain', 'mesh'] as const) {
      for (const name of cases) {
        test(`${name}, ${way}`, { timeout: 60_000 }, async () => {
          const args = [
            '-server_host',
            '127.0.0.1',
            '-server_port',
            String(pair.ports[way]),
            '-test_case',
            name,
          ];
          const { code, output } = await new Promise<{ code: number; output: string }>((resolve) =>
            execFile(join(folder, 'client'), args, (error, stdout, stderr) =>
              resolve({ code: error === null ? 0 : 1, output: stdout + stderr }),
            ),
          );
          assert.equal(code, 0, output.slice(-2000));
        });
      }
    }
  },
);
