import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { EntryQueue } from './entry_queue.ts';

function bytes(count: number): Uint8Array {
  return new Uint8Array(count);
}

test('entries leave when they are many bytes; what cannot be sent is counted', () => {
  const metrics = new MetricsRegistry();
  const written = metrics.counter('written');
  const dropped = metrics.counter('dropped');
  const sent: number[] = [];
  let open = true;
  const queue = new EntryQueue({
    bufferBytes: 100,
    flushMs: 60_000,
    written,
    dropped,
    send: (entries) => {
      if (open) sent.push(entries.length);
      return open;
    },
  });
  for (let i = 0; i < 5; i++) queue.push(bytes(40));
  assert.deepEqual(sent, [3]);
  queue.flush();
  queue.flush();
  assert.deepEqual(sent, [3, 2]);
  open = false;
  queue.push(bytes(100));
  assert.deepEqual([written.value, dropped.value], [6, 1]);
  queue.push(bytes(2 * 1024 * 1024));
  assert.deepEqual([written.value, dropped.value], [6, 2]);
});
