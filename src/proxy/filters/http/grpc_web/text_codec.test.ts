import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebTextDecoder, WebTextEncoder } from './text_codec.ts';

const bytes = Buffer.from(Array.from({ length: 301 }, (_, i) => (i * 89) & 255));

function pieces(whole: Buffer, size: number): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0; at < whole.length; at += size) out.push(whole.subarray(at, at + size));
  return out;
}

/** A gRPC message. */
function message(payload: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, payload]);
}

test('text is decoded however it is cut, padding inside it included', () => {
  const text = Buffer.from(
    [bytes, bytes.subarray(0, 1), bytes.subarray(0, 2), bytes].map((b) => b.toString('base64')).join(''),
  );
  const wanted = Buffer.concat([bytes, bytes.subarray(0, 1), bytes.subarray(0, 2), bytes]);
  for (const size of [1, 2, 3, 4, 5, 7, 64, text.length]) {
    const decoder = new WebTextDecoder();
    const out = pieces(text, size).map((piece) => decoder.decode(piece) as Buffer);
    assert.deepEqual(Buffer.concat(out), wanted, `pieces of ${size}`);
    assert.equal(decoder.complete, true);
  }
});

const bad: readonly [name: string, text: string][] = [
  ['a byte that is no digit', 'AA A'],
  ['the URL alphabet', 'AA-_'],
  ['padding at the start', '=AAA'],
  ['padding after one digit', 'A==='],
  ['a digit after padding', 'AA=A'],
];
for (const [name, text] of bad)
  test(`refused: ${name}`, () => assert.equal(new WebTextDecoder().decode(Buffer.from(text)), undefined));

test('a group that is cut is not complete', () => {
  for (const text of ['A', 'AA', 'AAA', 'AAAAAA=']) {
    const decoder = new WebTextDecoder();
    assert.notEqual(decoder.decode(Buffer.from(text)), undefined);
    assert.equal(decoder.complete, false, text);
  }
});

test('messages are encoded however they are cut, and none waits for the next', () => {
  const messages = [bytes.subarray(0, 0), bytes.subarray(0, 1), bytes.subarray(0, 2), bytes].map(message);
  for (const size of [1, 2, 3, 4, 5, 6, 7, 64, 1000]) {
    const encoder = new WebTextEncoder();
    const decoder = new WebTextDecoder();
    const sent: Buffer[] = [];
    for (const one of messages) {
      for (const piece of pieces(one, size)) sent.push(decoder.decode(encoder.encode(piece)) as Buffer);
      assert.equal(decoder.complete, true, `pieces of ${size}`);
    }
    assert.deepEqual(Buffer.concat(sent), Buffer.concat(messages));
  }
});

test('the end flushes what was kept of a message that broke off', () => {
  const encoder = new WebTextEncoder();
  const start = encoder.encode(message(bytes).subarray(0, 10));
  const end = encoder.finish(Buffer.from('end'));
  const decoder = new WebTextDecoder();
  assert.deepEqual(
    decoder.decode(Buffer.concat([start, end])),
    Buffer.concat([message(bytes).subarray(0, 10), Buffer.from('end')]),
  );
});
