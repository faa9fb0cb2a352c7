// Installs the packages when they are missing or older than the lock file. Plain JavaScript: runs on the Node a machine has.
//   node scripts/setup.mjs [--runtime]     --runtime leaves out what only development needs (faster first start)
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const runtimeOnly = process.argv.includes('--runtime');
const stampFile = 'node_modules/.trysail-setup.json';
const lock = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex');
const stamp = existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, 'utf8')) : {};

if (stamp.lock !== lock || (!runtimeOnly && stamp.runtimeOnly)) {
  const args = ['ci', '--loglevel=error', '--no-audit', '--no-fund', '--ignore-scripts'];
  if (runtimeOnly) args.push('--omit=dev');
  console.error(`trysail: installing packages (npm ${args.join(' ')})`);
  const done = spawnSync('npm', args, { stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
  if (done.status !== 0) process.exit(done.status ?? 1);
  writeFileSync(stampFile, JSON.stringify({ lock, runtimeOnly }));
}
