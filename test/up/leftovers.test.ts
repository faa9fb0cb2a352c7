/** Whatever ends a mesh, nothing of it stays: no process, namespace, socket. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { MeshProcess } from '../harness/mesh_process.ts';
import { detectCapture } from '../../src/local/network/detect.ts';
import { needs } from '../harness/optional_parts.ts';

/** Processes whose command line or environment names this mesh's own directory. */
function processesOf(directory: string): number[] {
  const found: number[] = [];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    try {
      const text =
        readFileSync(`/proc/${pid}/cmdline`, 'utf8') + readFileSync(`/proc/${pid}/environ`, 'utf8');
      if (text.includes(directory)) found.push(Number(pid));
    } catch {
      // it ended meanwhile
    }
  }
  return found;
}

function networkNamespaces(): number {
  return Number(execFileSync('sh', ['-c', 'lsns -t net -n 2>/dev/null | wc -l'], { encoding: 'utf8' }));
}

async function gone(directory: string, timeoutMs = 10_000): Promise<number[]> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const left = processesOf(directory);
    if (left.length === 0 || performance.now() > end) return left;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const capture = await detectCapture();

describe('nothing stays behind', { skip: process.platform === 'linux' ? false : 'needs /proc' }, () => {
  for (const mode of ['off', 'on'] as const) {
    const skip =
      mode === 'on'
        ? needs('packet capture (root or user namespaces, iptables, iproute2)', capture.mode === 'capture')
        : false;
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      test(`capture ${mode}, ended by ${signal}`, { skip, timeout: 240_000 }, async () => {
        const before = networkNamespaces();
        const mesh = new MeshProcess({ args: ['--capture', mode] });
        try {
          await mesh.ready();
          assert.ok(processesOf(mesh.directory).length > 5);
          mesh.child.kill(signal);
          await mesh.exited;
          assert.deepEqual(await gone(mesh.directory), []);
          assert.equal(existsSync(join(mesh.directory, 'trysail', mesh.name, 'control.sock')), false);
          assert.ok(networkNamespaces() <= before, 'network namespaces stay');
        } finally {
          await mesh.stop();
        }
      });
    }
  }
});
