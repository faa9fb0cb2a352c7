/**
 * `npm test`: the unit tests, then the tests with real parts under test/ one file at a time (they use namespaces, ports and
 * processes). Names in one line what optional parts are missing.
 *
 *   node scripts/test.ts [--suite unit|parts] [FILE...]
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({ options: { suite: { type: 'string' } }, allowPositionals: true });
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
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
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

const suite = values.suite;
if (positionals.length > 0) run(positionals, 1);
else {
  if (suite !== 'parts') run(globSync('{src,scripts,bench,samples}/**/*.test.ts'), 2);
  if (suite !== 'unit') run(globSync('test/**/*.test.ts').sort(), 1);
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
