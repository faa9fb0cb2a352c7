import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { HeaderName } from '../header_names.ts';
import { HpackDecoder, HpackError } from './decoder.ts';
import { encodeField, encodeFieldList, encodeStatus, integerText } from './encoder.ts';
import { FieldFlag } from './field.ts';
import { huffmanCodes, huffmanDecode, huffmanEncode, huffmanOutput } from './huffman.ts';

interface Decoded {
  error: HpackError;
  fields: string[];
  flags: number[];
}

function decode(decoder: HpackDecoder, bytes: Buffer): Decoded {
  const fields: string[] = [];
  const flags: number[] = [];
  const sink = {
    onField(name: HeaderName, value: string, flag: number): void {
      fields.push(`${name.name}: ${value}`);
      flags.push(flag);
    },
  };
  // Offsets other than 0 show readers that forget them.
  const padded = Buffer.concat([Buffer.from('xyz'), bytes, Buffer.from('xyz')]);
  const error = decoder.decode(padded, 3, 3 + bytes.length, sink);
  return { error, fields, flags };
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

function text(latin1: string): Buffer {
  return Buffer.from(latin1, 'latin1');
}

/** RFC 7541 appendix C: blocks of one connection, the fields of each, and the table's size after it. */
const vectors: readonly {
  readonly name: string;
  readonly table: number;
  readonly blocks: readonly (readonly [string, readonly string[], number])[];
}[] = [
  {
    name: 'C.2.1 literal with indexing',
    table: 4096,
    blocks: [
      ['400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572', ['custom-key: custom-header'], 55],
    ],
  },
  {
    name: 'C.2.2 literal without indexing',
    table: 4096,
    blocks: [['040c 2f73 616d 706c 652f 7061 7468', [':path: /sample/path'], 0]],
  },
  {
    name: 'C.2.3 literal never indexed',
    table: 4096,
    blocks: [['1008 7061 7373 776f 7264 0673 6563 7265 74', ['password: secret'], 0]],
  },
  { name: 'C.2.4 indexed', table: 4096, blocks: [['82', [':method: GET'], 0]] },
  {
    name: 'C.3 requests without Huffman',
    table: 4096,
    blocks: [
      [
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'],
        57,
      ],
      [
        '8286 84be 5808 6e6f 2d63 6163 6865',
        [
          ':method: GET',
          ':scheme: http',
          ':path: /',
          ':authority: www.example.com',
          'cache-control: no-cache',
        ],
        110,
      ],
      [
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
        [
          ':method: GET',
          ':scheme: https',
          ':path: /index.html',
          ':authority: www.example.com',
          'custom-key: custom-value',
        ],
        164,
      ],
    ],
  },
  {
    name: 'C.4 requests with Huffman',
    table: 4096,
    blocks: [
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'],
        57,
      ],
      [
        '8286 84be 5886 a8eb 1064 9cbf',
        [
          ':method: GET',
          ':scheme: http',
          ':path: /',
          ':authority: www.example.com',
          'cache-control: no-cache',
        ],
        110,
      ],
      [
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
        [
          ':method: GET',
          ':scheme: https',
          ':path: /index.html',
          ':authority: www.example.com',
          'custom-key: custom-value',
        ],
        164,
      ],
    ],
  },
  {
    name: 'C.5 responses without Huffman, with eviction',
    table: 256,
    blocks: [
      [
        '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e ' +
          '1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        [
          ':status: 302',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
        222,
      ],
      [
        '4803 3330 37c1 c0bf',
        [
          ':status: 307',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
        222,
      ],
      [
        '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d ' +
          '4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 ' +
          '7369 6f6e 3d31',
        [
          ':status: 200',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:22 GMT',
          'location: https://www.example.com',
          'content-encoding: gzip',
          'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
        ],
        215,
      ],
    ],
  },
  {
    name: 'C.6 responses with Huffman, with eviction',
    table: 256,
    blocks: [
      [
        '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b ' +
          '97c8 e9ae 82ae 43d3',
        [
          ':status: 302',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
        222,
      ],
      [
        '4883 640e ffc1 c0bf',
        [
          ':status: 307',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
        222,
      ],
      [
        '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf ' +
          'cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
        [
          ':status: 200',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:22 GMT',
          'location: https://www.example.com',
          'content-encoding: gzip',
          'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
        ],
        215,
      ],
    ],
  },
];

for (const { name, table, blocks } of vectors) {
  test(`RFC 7541 ${name}`, () => {
    const decoder = new HpackDecoder(table);
    for (const [bytes, fields, size] of blocks) {
      const decoded = decode(decoder, hex(bytes));
      assert.deepEqual([decoded.error, decoded.fields], [HpackError.none, fields]);
      assert.equal(decoder.tableSize, size);
    }
  });
}

test('integers of RFC 7541 C.1', () => {
  assert.deepEqual([...text(integerText(10, 5, 0))], [10]);
  assert.deepEqual([...text(integerText(1337, 5, 0))], [31, 154, 10]);
  assert.deepEqual([...text(integerText(42, 8, 0))], [42]);
});

test('malformed blocks are refused, each for its reason', () => {
  const cases: readonly (readonly [string, string, HpackError])[] = [
    ['index 0', '80', HpackError.badIndex],
    ['index past the tables', 'be', HpackError.badIndex],
    ['name index past the tables', '7e 01 61', HpackError.badIndex],
    ['integer that ends early', 'ff', HpackError.truncated],
    ['integer without end', 'ff ff ff ff ff ff ff', HpackError.integerTooLarge],
    ['name length past the block', '00 05 61', HpackError.truncated],
    ['no value', '00 01 61', HpackError.truncated],
    ['value length past the block', '00 01 61 02 62', HpackError.truncated],
    ['huge string', '00 7f ff ff ff 7f', HpackError.truncated],
    ['Huffman padding longer than 7 bits', '00 01 61 82 1f ff', HpackError.badHuffman],
    ['Huffman padding of zeros', '00 01 61 81 18', HpackError.badHuffman],
    ['Huffman EOS', '00 01 61 84 ff ff ff ff', HpackError.badHuffman],
    ['Huffman name wrong', '00 81 18 01 61', HpackError.badHuffman],
    ['table size above the setting', '3f e2 1f', HpackError.badTableSize],
    ['table size behind a field', '82 20', HpackError.badTableSize],
    ['three table sizes', '20 20 20 82', HpackError.badTableSize],
  ];
  for (const [name, bytes, error] of cases)
    assert.equal(decode(new HpackDecoder(4096), hex(bytes)).error, error, name);
});

test('table size updates: two at the start, then what fits; a lowered setting must be taken over', () => {
  const decoder = new HpackDecoder(4096);
  assert.equal(decode(decoder, hex('40 01 61 01 62')).error, HpackError.none);
  assert.equal(decoder.tableLength, 1);
  assert.equal(decode(decoder, hex('20 3f e1 1f 82')).error, HpackError.none);
  assert.equal(decoder.tableLength, 0);
  decoder.setMaxTableSize(100);
  assert.equal(decode(decoder, hex('82')).error, HpackError.missingTableSize);
  const other = new HpackDecoder(4096);
  other.setMaxTableSize(100);
  // 100 with a 5-bit prefix: 31 + 69.
  assert.equal(decode(other, hex('3f 45 82')).error, HpackError.none);
  assert.equal(decode(other, hex('3f 46 82')).error, HpackError.badTableSize);
  const raised = new HpackDecoder(4096);
  raised.setMaxTableSize(8192);
  assert.equal(decode(raised, hex('82')).error, HpackError.none);
});

test('an entry larger than the table empties it', () => {
  const decoder = new HpackDecoder(64);
  decode(decoder, hex('40 01 61 01 62'));
  assert.equal(decoder.tableSize, 34);
  const large = text('\x40\x01a\x28' + 'v'.repeat(40));
  assert.equal(decode(decoder, large).error, HpackError.none);
  assert.deepEqual([decoder.tableSize, decoder.tableLength], [0, 0]);
});

test('what may not stand in a message is marked, also when it comes from a table', () => {
  const raw = (name: string, value: string): string =>
    '\x40' + integerText(name.length, 7, 0) + name + integerText(value.length, 7, 0) + value;
  const cases: readonly (readonly [string, string, number])[] = [
    ['Upper', 'x', FieldFlag.badName],
    ['sp ace', 'x', FieldFlag.badName],
    ['', 'x', FieldFlag.badName],
    [':unknown', 'x', FieldFlag.badName | FieldFlag.pseudo],
    [':path', '/', FieldFlag.path | FieldFlag.pseudo],
    ['a', 'nul\0', FieldFlag.badValue],
    ['a', 'line\n', FieldFlag.badValue],
    ['a', 'return\r', FieldFlag.badValue],
    ['a', 'del\x7f', FieldFlag.badValue],
    ['a', ' x', FieldFlag.spaced],
    ['a', 'x\t', FieldFlag.spaced],
    ['a', 'tab\tinside', 0],
    ['a', '\xff', 0],
  ];
  for (const [name, value, flag] of cases) {
    const decoder = new HpackDecoder(4096);
    const first = decode(decoder, text(raw(name, value)));
    assert.deepEqual([first.error, first.flags], [HpackError.none, [flag]], `${name}: ${value}`);
    assert.deepEqual(decode(decoder, hex('be')).flags, [flag], 'indexed');
  }
  // A bad value must not stick to the name.
  const decoder = new HpackDecoder(4096);
  decode(decoder, text(raw('a', 'bad\n')));
  assert.deepEqual(decode(decoder, hex('7e 01 78')).flags, [0]);
});

test('Huffman codes are those of appendix B', () => {
  assert.deepEqual(huffmanCodes[48], { code: 0, bits: 5 });
  assert.deepEqual(huffmanCodes[38], { code: 0xf8, bits: 8 });
  assert.deepEqual(huffmanCodes[92], { code: 0x7fff0, bits: 19 });
  assert.deepEqual(huffmanCodes[249], { code: 0xffffffe, bits: 28 });
  assert.deepEqual(huffmanCodes[256], { code: 0x3fffffff, bits: 30 });
  assert.equal(huffmanCodes.length, 257);
});

const octets = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1'));

test('property: Huffman decodes what it encoded', () => {
  fc.assert(
    fc.property(octets, (plain) => {
      const coded = text(huffmanEncode(plain));
      const length = huffmanDecode(coded, 0, coded.length);
      assert.equal(huffmanOutput().toString('latin1', 0, length), plain);
    }),
  );
});

/** The decoder by the definition, one bit at a time: undefined for what must be refused. */
function slowHuffman(bytes: Uint8Array): string | undefined {
  const symbols = new Map(huffmanCodes.map(({ code, bits }, symbol) => [`${bits}:${code}`, symbol]));
  let out = '';
  let code = 0;
  let bits = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      bits++;
      const symbol = symbols.get(`${bits}:${code}`);
      if (symbol === 256) return undefined;
      if (symbol === undefined) continue;
      out += String.fromCharCode(symbol);
      code = 0;
      bits = 0;
    }
  }
  return bits < 8 && code === 2 ** bits - 1 ? out : undefined;
}

test('property: Huffman decoding agrees with the definition on any octets', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
      const length = huffmanDecode(bytes, 0, bytes.length);
      assert.equal(
        length < 0 ? undefined : huffmanOutput().toString('latin1', 0, length),
        slowHuffman(bytes),
      );
    }),
    { numRuns: 500 },
  );
});

const fieldName = fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/).filter((name) => name !== 'te');
const fieldValue = octets.map((value) => value.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, '.').trim());
const connectionFields = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
];

test('property: decoding gives back what was encoded, and the encoder needs no table', () => {
  const decoder = new HpackDecoder(0);
  fc.assert(
    fc.property(fc.array(fc.tuple(fieldName, fieldValue), { maxLength: 30 }), (list) => {
      const block = encodeFieldList(
        list.map(([name]) => name),
        list.map(([, value]) => value),
      );
      const decoded = decode(decoder, text(block));
      assert.equal(decoded.error, HpackError.none);
      assert.deepEqual(
        decoded.fields,
        list.filter(([name]) => !connectionFields.includes(name)).map(([name, value]) => `${name}: ${value}`),
      );
      assert.equal(decoder.tableSize, 0);
    }),
  );
});

/** A peer's encoder that uses everything: indices, Huffman, eviction. */
class BusyEncoder {
  #table: [string, string][] = [];
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  field(name: string, value: string, mode: number): string {
    const coded = mode % 2 === 1;
    const literal = (plain: string): string => {
      const bytes = coded ? huffmanEncode(plain) : plain;
      return integerText(bytes.length, 7, coded ? 0x80 : 0) + bytes;
    };
    const at = this.#table.findIndex((entry) => entry[0] === name && entry[1] === value);
    if (at >= 0) return integerText(62 + at, 7, 0x80);
    const named = this.#table.findIndex((entry) => entry[0] === name);
    const kind = mode % 3;
    const index = named < 0 ? 0 : 62 + named;
    const start = kind === 0 ? integerText(index, 6, 0x40) : integerText(index, 4, kind === 1 ? 0 : 0x10);
    if (kind === 0) {
      this.#table.unshift([name, value]);
      const size = (): number => this.#table.reduce((sum, [n, v]) => sum + n.length + v.length + 32, 0);
      while (size() > this.#max) this.#table.pop();
    }
    return start + (index === 0 ? literal(name) : '') + literal(value);
  }
}

test('property: dynamic table, eviction and Huffman against an encoder by the book', () => {
  const name = fc.constantFrom('a', 'bb', 'x-request-id', 'content-type', 'cookie');
  const value = fc.oneof(fc.constantFrom('1', 'text/plain', 'z'.repeat(90)), fieldValue);
  fc.assert(
    fc.property(
      fc.constantFrom(0, 40, 64, 200, 4096),
      fc.array(fc.array(fc.tuple(name, value, fc.nat(5)), { maxLength: 12 }), { maxLength: 12 }),
      (max, blocks) => {
        const encoder = new BusyEncoder(max);
        const decoder = new HpackDecoder(max);
        for (const block of blocks) {
          const bytes = text(block.map(([n, v, mode]) => encoder.field(n, v, mode)).join(''));
          const decoded = decode(decoder, bytes);
          assert.equal(decoded.error, HpackError.none);
          assert.deepEqual(
            decoded.fields,
            block.map(([n, v]) => `${n}: ${v}`),
          );
          assert.ok(decoder.tableSize <= max);
        }
      },
    ),
  );
});

test('fields that must not travel, and fields that nobody may index', () => {
  assert.equal(encodeField('connection', 'close'), '');
  assert.equal(encodeField('te', 'gzip'), '');
  assert.notEqual(encodeField('te', 'trailers'), '');
  for (const name of ['authorization', 'cookie', 'set-cookie', 'proxy-authorization'])
    assert.equal(encodeField(name, 'x').charCodeAt(0) & 0xf0, 0x10, name);
  assert.equal(encodeField('accept', 'x').charCodeAt(0) & 0xf0, 0);
  assert.deepEqual([encodeStatus(200), encodeStatus(418)], ['\x88', '\x08\x03418']);
});

test('an HPACK bomb costs no memory: references share one string', () => {
  const decoder = new HpackDecoder(4096);
  decode(decoder, text('\x40\x01a' + integerText(4000, 7, 0) + 'v'.repeat(4000)));
  let bytes = 0;
  const values = new Set<string>();
  const sink = {
    onField(_name: HeaderName, value: string): void {
      bytes += value.length;
      values.add(value);
    },
  };
  const block = Buffer.alloc(60_000, 0xbe);
  assert.equal(decoder.decode(block, 0, block.length, sink), HpackError.none);
  assert.deepEqual([bytes, values.size], [240_000_000, 1]);
});
