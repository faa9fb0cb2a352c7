/**
 * Runs the tests. Unit tests (`x.test.ts` beside `x.ts`) start no process and need no rights: they share a process per core,
 * so that what they all import is loaded once. Tests
 * with real parts (`x.parts.test.ts` beside the code, and everything under test/) start processes, make namespaces and take
 * ports: one file at a time. Closes with `N passed, N failed, N skipped`; names in one line what optional parts are missing.
 *
 *   node scripts/test.ts [--suite unit|parts] [FILE...]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
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
async function run(files: readonly string[], isolation: 'process' | 'none'): Promise<void> {
  if (files.length === 0) return;
  const args = [
    '--test',
    '--test-reporter=spec',
    '--test-concurrency=1',
    `--test-isolation=${isolation}`,
    '--test-timeout=300000',
    ...files,
  ];
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { NODE_COMPILE_CACHE: join(root, '.cache', 'node'), ...process.env },
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const [status] = (await once(child, 'close')) as [number | null];
  const count = (name: string): number => Number(new RegExp(`^ℹ ${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  totals.passed += count('pass');
  totals.failed += count('fail') + count('cancelled');
  totals.skipped += count('skipped');
  const skips = text.split('\n').filter((line) => line.includes('# SKIP') || line.includes('﹣'));
  for (const line of skips) console.log(line.trim());
  if (status !== 0) {
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
if (positionals.length > 0) await run(positionals, 'process');
else {
  const beside = globSync('{src,scripts,bench,samples}/**/*.test.ts', { cwd: root }).sort();
  if (suite !== 'parts') {
    const started = performance.now();
    const files = beside.filter((file) => !withParts(file));
    const groups = Math.min(4, Math.max(2, availableParallelism()));
    await Promise.all(
      Array.from({ length: groups }, (_, group) =>
        run(
          files.filter((_, i) => i % groups === group),
          'none',
        ),
      ),
    );
    console.log(`unit tests: ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  if (suite !== 'unit') {
    await run(beside.filter(withParts), 'process');
    await run(globSync('test/**/*.test.ts', { cwd: root }).sort(), 'process');
  }
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
