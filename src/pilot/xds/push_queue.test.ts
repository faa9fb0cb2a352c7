import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PushContext } from '../model/push_context.ts';
import { PushQueue } from './push_queue.ts';
import type { PushReason, PushRequest } from './push_request.ts';

function request(generation: number, full: boolean, reason: PushReason): PushRequest {
  const context = { generation } as unknown as PushContext;
  return { context, generation, full, reasons: new Set([reason]), startedAt: generation };
}

/** A queue whose pushes end by hand. */
function makeQueue(concurrency: number) {
  const running: { proxy: string; request: PushRequest; end: () => Promise<void> }[] = [];
  const queue = new PushQueue<string>(
    concurrency,
    (proxy, request) =>
      new Promise((resolve) => {
        const end = async (): Promise<void> => {
          running.splice(
            running.findIndex((one) => one.proxy === proxy),
            1,
          );
          resolve();
          await new Promise(setImmediate);
        };
        running.push({ proxy, request, end });
      }),
  );
  return { queue, running, names: () => running.map(({ proxy }) => proxy) };
}

test('no more proxies at one time than allowed, in order of arrival', async () => {
  const { queue, running, names } = makeQueue(2);
  for (const proxy of ['a', 'b', 'c', 'd']) queue.enqueue(proxy, request(1, true, 'config'));
  assert.deepEqual(names(), ['a', 'b']);
  await running[1]!.end();
  assert.deepEqual(names(), ['a', 'c']);
  await running[0]!.end();
  assert.deepEqual(names(), ['c', 'd']);
});

test('requests for one proxy merge while it waits and while it is being pushed to', async () => {
  const { queue, running } = makeQueue(1);
  queue.enqueue('a', request(1, false, 'endpoint'));
  queue.enqueue('b', request(1, false, 'endpoint'));
  queue.enqueue('b', request(2, true, 'config'));
  queue.enqueue('a', request(2, false, 'endpoint'));
  queue.enqueue('a', request(3, false, 'service'));
  assert.equal(running.length, 1);
  await running[0]!.end();
  const [b] = running;
  assert.deepEqual([b!.proxy, b!.request.generation, b!.request.full], ['b', 2, true]);
  assert.deepEqual([...b!.request.reasons], ['endpoint', 'config']);
  assert.equal(b!.request.startedAt, 1);
  await b!.end();
  const [a] = running;
  assert.deepEqual([a!.proxy, a!.request.generation, a!.request.full], ['a', 3, false]);
  await a!.end();
  assert.deepEqual([running.length, queue.size], [0, 0]);
});

test('a proxy that has gone is not pushed to again', async () => {
  const { queue, running, names } = makeQueue(1);
  queue.enqueue('a', request(1, true, 'config'));
  queue.enqueue('b', request(1, true, 'config'));
  queue.enqueue('a', request(2, true, 'config'));
  queue.remove('a');
  queue.remove('b');
  await running[0]!.end();
  assert.deepEqual(names(), []);
});
