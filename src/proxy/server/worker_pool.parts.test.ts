import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConfigUpdate } from '../config/config_update.ts';
import { LogLines, until } from './testing.ts';
import { WorkerThread } from './worker_thread.ts';
import { WorkerPool, type WorkerPoolOptions } from './worker_pool.ts';

function update(...names: string[]): ConfigUpdate {
  const changed = names.map((name) => ({ name, bytes: new Uint8Array() }));
  return { source: 'ads', typeUrl: 't', changed, removed: [] };
}

function makePool(options: Partial<WorkerPoolOptions> & { hostname?: string } = {}): {
  pool: WorkerPool;
  log: LogLines;
  gone: number[];
} {
  const log = new LogLines();
  const gone: number[] = [];
  const pool = new WorkerPool({
    concurrency: 2,
    log: log.logger,
    init: {
      bootstrap: new Uint8Array(),
      concurrency: 2,
      drainTimeMs: 0,
      drainStrategy: 'immediate',
      runtime: [],
      logLevel: 'info',
      hostname: options.hostname ?? '',
      environment: {},
    },
    onMessage: () => {},
    replay: () => [update('a', 'b')],
    onWorkerGone: (worker) => {
      gone.push(worker);
      return () => {};
    },
    makeWorker: (init, callbacks) =>
      new WorkerThread(init, callbacks, new URL('./testing_worker.ts', import.meta.url)),
    ...options,
  });
  return { pool, log, gone };
}

test('refusals of all workers come together, each name once', async () => {
  const { pool } = makePool();
  await pool.start();
  try {
    assert.deepEqual(await pool.broadcast(update('a')), []);
    assert.deepEqual(await pool.broadcast(update('bad1', 'good', 'bad2')), [
      { name: 'bad1', message: 'worker 0 says no' },
      { name: 'bad2', message: 'worker 0 says no' },
    ]);
  } finally {
    await pool.close();
  }
});

test('a worker that dies is named, replaced and given the configuration', async () => {
  const { pool, log, gone } = makePool({ concurrency: 1 });
  await pool.start();
  try {
    pool.give(0, update('throw'));
    await until(() => gone.length === 1, 'the end of the worker');
    // The successor has replayed a and b before this.
    assert.deepEqual(await pool.broadcast(update('c')), []);
    assert.deepEqual(await pool.ask('connections'), [3]);
    assert.equal(pool.replaced, 1);
    assert.ok(log.lines.some((line) => line.includes('worker is replaced') && line.includes('boom')));
  } finally {
    await pool.close();
  }
});

test('an update over which two workers end is refused, the configuration before it stays', async () => {
  const { pool } = makePool({ concurrency: 1 });
  await pool.start();
  try {
    assert.deepEqual(await pool.broadcast(update('throw')), [
      { name: 'throw', message: 'workers ended while they built it' },
    ]);
    assert.deepEqual(await pool.broadcast(update('c')), []);
    assert.deepEqual(await pool.ask('connections'), [3]);
  } finally {
    await pool.close();
  }
});

test('a worker whose event loop stands still is replaced, the others answer meanwhile', async () => {
  const { pool, log, gone } = makePool({ stuckAfterMs: 1000 });
  await pool.start();
  try {
    await new Promise((resolve) => setTimeout(resolve, 100));
    pool.give(1, update('loop'));
    await until(() => gone.length === 1, 'the end of the worker');
    assert.deepEqual(gone, [1]);
    assert.deepEqual(await pool.broadcast(update('c')), []);
    assert.ok(log.lines.some((line) => line.includes('stood still for 1000 ms')));
  } finally {
    await pool.close();
  }
});

test('a bootstrap that is refused ends the start', async () => {
  const { pool } = makePool({ hostname: 'unstartable' });
  await assert.rejects(pool.start(), /cluster a: bad/);
});
