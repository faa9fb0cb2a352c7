/** Entry of the thread that makes one configuration dump and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { enableCompileCache } from 'node:module';
import type { DumpInput } from './config_dump.ts';

enableCompileCache();
const { dumpConfig } = await import('./config_dump.ts');
parentPort?.postMessage(dumpConfig(workerData as DumpInput));
