/** Entry of a worker thread. The data plane is loaded behind the compile cache, which keeps its start short and small. */
import { enableCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { settleHeap } from './settle_heap.ts';
import type { FromWorker, ToWorker, WorkerInit } from './messages.ts';

const init = workerData as WorkerInit;
if (init.compileCache !== undefined) enableCompileCache(init.compileCache);
const { WorkerRuntime } = await import('./worker.ts');

const port = parentPort;
if (port === null) throw new Error('this file is the entry of a worker thread');
const post = (message: FromWorker): void => port.postMessage(message);
const runtime = new WorkerRuntime(init, post);
port.on('message', (message: ToWorker) => {
  void runtime.handle(message).then(() => {
    if (message.kind === 'close') port.close();
  });
});

const beats = new Int32Array(init.heartbeat);
setInterval(() => Atomics.add(beats, 0, 1), 250);

try {
  await runtime.start();
  settleHeap();
} catch (error) {
  post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  port.close();
}
