/** Entry of the thread that reads one bootstrap and ends. */
import { enableCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { BootstrapInput } from './bootstrap_text.ts';

/** What the thread is given. */
export interface BootstrapJob {
  readonly input: BootstrapInput;
  /** Directory of the compile cache, when the process has one. */
  readonly compileCache: string | undefined;
}

/** What comes back. */
export type BootstrapResult = { readonly bytes: Uint8Array } | { readonly error: string };

const { input, compileCache } = workerData as BootstrapJob;
if (compileCache !== undefined) enableCompileCache(compileCache);
const { readBootstrap } = await import('./bootstrap_text.ts');
let result: BootstrapResult;
try {
  result = { bytes: await readBootstrap(input) };
} catch (error) {
  result = { error: error instanceof Error ? error.message : String(error) };
}
parentPort?.postMessage(result);
