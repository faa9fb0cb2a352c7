import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { FrameReader, encodeFrame } from './grpc_frame.ts';

test('messages come out as they went in, however the bytes are cut', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 30 }), (sent, cuts) => {
      const bytes = Buffer.concat(sent.map((message) => encodeFrame(message)));
      const reader = new FrameReader(40);
      const received: Buffer[] = [];
      let at = 0;
      for (let i = 0; at < bytes.length; i++) {
        const end = Math.min(bytes.length, at + 1 + cuts[i % cuts.length]!);
        received.push(...reader.push(bytes.subarray(at, end)));
        at = end;
      }
      assert.deepEqual(
        received.map((message) => message.toString('hex')),
        sent.map((message) => Buffer.from(message).toString('hex')),
      );
      assert.ok(reader.idle);
    }),
  );
});

test('a message over the bound is refused at its prefix', () => {
  const reader = new FrameReader(10);
  assert.throws(() => reader.push(encodeFrame(new Uint8Array(11)).subarray(0, 5)), /11 bytes, more than 10/);
});
