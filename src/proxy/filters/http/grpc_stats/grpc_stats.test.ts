import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameCounter } from './grpc_stats.ts';

function frame(length: number): Buffer {
  const bytes = Buffer.alloc(5 + length);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

test('messages are counted however they are cut', () => {
  const wire = Buffer.concat([frame(0), frame(3), frame(300), frame(0), frame(70_000)]);
  for (const size of [1, 2, 3, 4, 5, 7, 64, 65_536, wire.length]) {
    const counter = new FrameCounter();
    for (let at = 0; at < wire.length; at += size) counter.add(wire.subarray(at, at + size));
    assert.equal(counter.count, 5, `pieces of ${size}`);
  }
  const cut = new FrameCounter();
  cut.add(Buffer.alloc(4));
  assert.equal(cut.count, 0);
});
