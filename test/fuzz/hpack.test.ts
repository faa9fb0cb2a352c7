/** HPACK with mutated blocks: no exception, bounded tables, the same verdict wherever a block lies in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HeaderName } from '#proxy/http/header_names.ts';
import { HpackDecoder, HpackError } from '#proxy/http/hpack/decoder.ts';
import { huffmanEncode } from '#proxy/http/hpack/huffman.ts';
import { mutate, pick, randomFrom } from './mutate.ts';

const rounds = 60_000;

/** Blocks of RFC 7541 appendix C and such with updates and long strings. */
const corpus: readonly Buffer[] = [
  '400a637573746f6d2d6b65790d637573746f6d2d686561646572',
  '040c2f73616d706c652f70617468',
  '100870617373776f726406736563726574',
  '828684410f7777772e6578616d706c652e636f6d',
  '828684be58086e6f2d6361636865',
  '828684418cf1e3c2e5f23a6ba0ab90f4ff',
  '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
  '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
  '203fe11f82',
  '3fe11f4001610162c0bf',
].map((hex) => Buffer.from(hex, 'hex'));

interface Outcome {
  readonly error: HpackError;
  readonly fields: readonly string[];
  readonly size: number;
}

function decode(decoder: HpackDecoder, bytes: Buffer, offset: number): Outcome {
  const memory = Buffer.alloc(bytes.length + 2 * offset, 0xbe);
  bytes.copy(memory, offset);
  const fields: string[] = [];
  const sink = {
    onField: (name: HeaderName, value: string, flag: number): void =>
      void fields.push(`${name.name}:${value}:${flag}`),
  };
  const error = decoder.decode(memory, offset, offset + bytes.length, sink);
  return { error, fields, size: decoder.tableSize };
}

test(`${rounds} mutated header blocks`, () => {
  const random = randomFrom(7541);
  const verdicts = new Map<HpackError, number>();
  for (let round = 0; round < rounds; round++) {
    const max = pick(random, [0, 64, 4096]);
    const [one, other] = [new HpackDecoder(max), new HpackDecoder(max)];
    for (let block = 0; block < 4; block++) {
      const bytes = mutate(random, pick(random, corpus));
      const first = decode(one, bytes, 0);
      assert.deepEqual(decode(other, bytes, 5), first, bytes.toString('hex'));
      assert.ok(first.size <= max);
      verdicts.set(first.error, (verdicts.get(first.error) ?? 0) + 1);
      if (first.error !== HpackError.none) break;
    }
  }
  // Mutations reach both sides of the line, and every way to be wrong that needs no SETTINGS.
  for (const error of Object.values(HpackError))
    if (error !== HpackError.missingTableSize) assert.ok((verdicts.get(error) ?? 0) > 0, `verdict ${error}`);
});

test('time is linear in the block', () => {
  const spent = (bytes: Buffer): number => {
    let best = Infinity;
    for (let i = 0; i < 8; i++) {
      const decoder = new HpackDecoder(4096);
      const start = performance.now();
      let fields = 0;
      decoder.decode(bytes, 0, bytes.length, { onField: () => void fields++ });
      assert.ok(fields > 0);
      best = Math.min(best, performance.now() - start);
    }
    return best;
  };
  // Insertions that evict, references, Huffman: each ten times longer must not cost a hundred times as much.
  const text = huffmanEncode('~'.repeat(40));
  const kinds: readonly ((count: number) => Buffer)[] = [
    (count) => Buffer.from('\x40\x01a\x01b'.repeat(count), 'latin1'),
    (count) => Buffer.from('\x40\x01a\x01b' + '\xbe'.repeat(count * 5), 'latin1'),
    (count) =>
      Buffer.from(`\x00\x01a${String.fromCharCode(0x80 | text.length)}${text}`.repeat(count), 'latin1'),
  ];
  for (const [kind, make] of kinds.entries()) {
    spent(make(5000));
    const ratio = spent(make(30_000)) / spent(make(3000));
    assert.ok(ratio < 50, `kind ${kind}: ${ratio}`);
  }
});
