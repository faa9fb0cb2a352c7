/**
 * Runs the tests. Unit tests (`x.test.ts` beside `x.ts`) start no process and need no rights: several files at a time. Tests
 * with real parts (`x.parts.test.ts` beside the code, and everything under test/) start processes, make namespaces and take
 * ports: one file at a time. Closes with `N passed, N failed, N skipped`; names in one line what optional parts are missing.
 *
 *   node scripts/test.ts [--suite unit|parts] [FILE...]
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({ options: { suite: { type: 'string' } }, allowPositionals: true });
const root = join(import.meta.dirname, '..');
const major = Number(process.versions.node.split('.')[0]);
if (major < 26) {
  console.error(
    `trysail: tests need Node 26, this is ${process.version}: npm left out the optional packages`,
  );
  process.exit(2);
}

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

const totals: Totals = { passed: 0, failed: 0, skipped: 0 };

/** Runs node's test runner on files; adds its counts to the totals. */
function run(files: string[], concurrency: number): void {
  if (files.length === 0) return;
  const args = [
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${concurrency}`,
    '--test-timeout=300000',
    ...files,
  ];
  const result = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
    // Each file is a process of its own: what they all import is compiled once.
    env: { NODE_COMPILE_CACHE: join(root, '.cache', 'node'), ...process.env },
  });
  const text = result.stdout;
  const count = (name: string): number => Number(new RegExp(`^ℹ ${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  totals.passed += count('pass');
  totals.failed += count('fail') + count('cancelled');
  totals.skipped += count('skipped');
  const skips = text.split('\n').filter((line) => line.includes('# SKIP') || line.includes('﹣'));
  for (const line of skips) console.log(line.trim());
  if (result.status !== 0) {
    console.log(text);
    if (count('fail') + count('cancelled') === 0) totals.failed++;
  }
}

function withParts(file: string): boolean {
  return file.endsWith('.parts.test.ts');
}

const { suite } = values;
if (suite !== undefined && suite !== 'unit' && suite !== 'parts') {
  console.error(`--suite: ${JSON.stringify(suite)} is neither unit nor parts`);
  process.exit(2);
}
if (positionals.length > 0) run(positionals, 1);
else {
  const beside = globSync('{src,scripts,bench,samples}/**/*.test.ts', { cwd: root }).sort();
  const started = performance.now();
  if (suite !== 'parts')
    run(
      beside.filter((file) => !withParts(file)),
      Math.max(2, availableParallelism()),
    );
  console.log(`unit tests: ${((performance.now() - started) / 1000).toFixed(0)} s`);
  if (suite !== 'unit') {
    run(beside.filter(withParts), 1);
    run(globSync('test/**/*.test.ts', { cwd: root }).sort(), 1);
  }
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
