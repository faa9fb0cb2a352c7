/** Entry of the thread that reads one bootstrap and ends. */
import { enableCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { BootstrapInput } from './bootstrap_text.ts';

/** What comes back. */
export type BootstrapResult = { readonly bytes: Uint8Array } | { readonly error: string };

enableCompileCache();
const { readBootstrap } = await import('./bootstrap_text.ts');
let result: BootstrapResult;
try {
  result = { bytes: await readBootstrap(workerData as BootstrapInput) };
} catch (error) {
  result = { error: error instanceof Error ? error.message : String(error) };
}
parentPort?.postMessage(result);
