/** Entry of the process that reads one bootstrap: input as JSON on standard input, bytes on standard output. */
import { readFileSync, writeSync } from 'node:fs';
import { type BootstrapInput, readBootstrap } from './bootstrap_text.ts';

const input = JSON.parse(readFileSync(0, 'utf8')) as BootstrapInput;
try {
  const bytes = await readBootstrap(input);
  for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
} catch (error) {
  writeSync(2, error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
