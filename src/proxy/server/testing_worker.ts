/** A worker thread for tests of the pool: resources tell it what to do by their names. */
import { parentPort, workerData } from 'node:worker_threads';
import type { FromWorker, ToWorker, WorkerInit } from './messages.ts';

const init = workerData as WorkerInit;
const beats = new Int32Array(init.heartbeat);
const post = (message: FromWorker): void => parentPort?.postMessage(message);
/** Names of all resources this worker was given, in order. */
const given: string[] = [];

setInterval(() => Atomics.add(beats, 0, 1), 50);

parentPort?.on('message', (message: ToWorker) => {
  if (message.kind === 'close') post({ kind: 'closed' });
  if (message.kind === 'ask') post({ kind: 'answer', id: message.id, value: given.length });
  if (message.kind !== 'update') return;
  for (const { name } of message.update.changed) {
    if (name === 'throw') throw new Error('boom');
    if (name === 'loop') for (;;);
    given.push(name);
  }
  const rejected = message.update.changed
    .filter(({ name }) => name.startsWith('bad'))
    .map(({ name }) => ({ name, message: `worker ${init.index} says no` }));
  post({ kind: 'verdict', id: message.id, rejected });
});

if (init.hostname === 'unstartable') {
  post({ kind: 'failed', message: 'cluster a: bad' });
} else post({ kind: 'started', extensions: [] });
