/** Entry of the thread that makes one configuration dump and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { enableCompileCache } from 'node:module';
import type { DumpJob } from './config_dump_page.ts';

const { input, compileCache } = workerData as DumpJob;
if (compileCache !== undefined) enableCompileCache(compileCache);
const { dumpConfig } = await import('./config_dump.ts');
parentPort?.postMessage(dumpConfig(input));
