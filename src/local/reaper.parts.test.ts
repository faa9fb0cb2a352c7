import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

/** A parent that starts a sleeper and a reaper, says its pid, and waits to be killed. */
const parent = `
import { spawn } from 'node:child_process';
import { Reaper } from ${JSON.stringify(new URL('./reaper.ts', import.meta.url).href)};
const reaper = new Reaper([process.env.MARK]);
const child = spawn('sleep', ['300'], { detached: true, stdio: 'ignore' });
reaper.add(child.pid);
if (process.env.GOODBYE) { reaper.dismiss(); setTimeout(() => process.exit(0), 100); }
console.log(child.pid);
setInterval(() => {}, 1000);
`;

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function runParent(goodbye: boolean): Promise<{ pid: number; mark: string }> {
  const mark = join(mkdtempSync(join(tmpdir(), 'reaper-')), 'mark');
  writeFileSync(mark, '');
  const child = spawn(process.execPath, ['--input-type=module', '-e', parent], {
    env: { ...process.env, MARK: mark, ...(goodbye ? { GOODBYE: '1' } : {}) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pid = await new Promise<number>((resolve) =>
    child.stdout.once('data', (data) => resolve(Number(data))),
  );
  const gone = new Promise((resolve) => child.once('exit', resolve));
  if (!goodbye) child.kill('SIGKILL');
  await gone;
  return { pid, mark };
}

test('a killed parent leaves neither processes nor files', { timeout: 20_000 }, async () => {
  const { pid, mark } = await runParent(false);
  const end = performance.now() + 5000;
  while (alive(pid) && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(alive(pid), false);
  while (existsSync(mark) && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(existsSync(mark), false);
});

test('a parent that said goodbye keeps what it left on purpose', { timeout: 20_000 }, async () => {
  const { pid, mark } = await runParent(true);
  await new Promise((resolve) => setTimeout(resolve, 300));
  try {
    assert.equal(alive(pid), true);
    assert.equal(existsSync(mark), true);
  } finally {
    process.kill(pid, 'SIGKILL');
  }
});
