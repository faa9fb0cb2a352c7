import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { TypedExtensionConfigSchema } from '#api/gen/envoy/config/core/v3/extension_pb.ts';
import { BrotliSchema } from '#api/gen/envoy/extensions/compression/brotli/compressor/v3/brotli_pb.ts';
import { GzipSchema } from '#api/gen/envoy/extensions/compression/gzip/compressor/v3/gzip_pb.ts';
import { ZstdSchema } from '#api/gen/envoy/extensions/compression/zstd/compressor/v3/zstd_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import { CompressedStream, type CompressorLibrary, readLibrary } from './libraries.ts';
import { negotiate } from './negotiation.ts';

function library(typeUrl: string, value: Uint8Array = new Uint8Array()): CompressorLibrary {
  return readLibrary(create(TypedExtensionConfigSchema, { name: 'l', typedConfig: { typeUrl, value } }));
}

for (const [schema, decode] of [
  [GzipSchema, gunzipSync],
  [BrotliSchema, brotliDecompressSync],
  [ZstdSchema, zstdDecompressSync],
] as const) {
  test(`${schema.name}: pieces of any size, each out at once`, () => {
    const stream = new CompressedStream(library(typeUrlOf(schema)));
    const pieces = [0, 1, 100_000, 17, 4096, 65_536].map((size) => Buffer.alloc(size, `${size},`));
    const out: Buffer[] = [];
    for (const piece of pieces) {
      const compressed = stream.write(piece, false);
      assert.ok(piece.length === 0 || compressed.length > 0);
      out.push(compressed);
    }
    out.push(stream.write(Buffer.from('end'), true));
    stream.close();
    assert.ok(decode(Buffer.concat(out)).equals(Buffer.concat([...pieces, Buffer.from('end')])));
  });
}

test('what a library cannot do is refused by name', () => {
  assert.throws(() => readLibrary(undefined), /compressor_library is missing/);
  assert.throws(() => library('type.googleapis.com/x.Y'), /x\.Y is not supported/);
  const bad = toBinary(GzipSchema, create(GzipSchema, { memoryLevel: 10 }));
  assert.throws(() => library(typeUrlOf(GzipSchema), bad), /memory_level 10 is not between 1 and 9/);
});

test('negotiation', () => {
  const none = new Set<string>();
  for (const [accept, offered, first, encoding, choice] of [
    ['gzip', ['gzip'], none, 'gzip', 'header_compressor_used'],
    ['gzip', [], none, 'identity', 'header_not_valid'],
    ['*', [], none, 'identity', 'header_not_valid'],
    ['*', ['br', 'gzip'], none, 'br', 'header_wildcard'],
    ['gzip,br', ['br', 'gzip'], none, 'gzip', 'header_compressor_used'],
    ['gzip,br', ['br', 'gzip'], new Set(['br']), 'br', 'header_compressor_used'],
    ['gzip;q=1,br;q=0.9', ['br', 'gzip'], new Set(['br']), 'gzip', 'header_compressor_used'],
    [' gzip ; q = 0.5 , identity;q=0.4', ['gzip'], none, 'gzip', 'header_compressor_used'],
    ['identity', ['gzip'], none, 'identity', 'header_identity'],
    ['gzip;q=-1', ['gzip'], none, 'identity', 'header_not_valid'],
    [',,,', ['gzip'], none, 'identity', 'header_not_valid'],
  ] as const)
    assert.deepEqual(negotiate(accept, offered, first), { encoding, choice }, accept);
});
