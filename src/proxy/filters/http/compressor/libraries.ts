/**
 * Compressor libraries (envoy.compression.*.compressor): a stream that is compressed a piece at a time, in the call. Node's
 * public API does that on its thread pool alone, so its handles are driven directly; where they do not look as expected the
 * configuration is refused.
 */
import { constants, createBrotliCompress, createGzip, createZstdCompress } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import { BrotliSchema } from '#api/gen/envoy/extensions/compression/brotli/compressor/v3/brotli_pb.ts';
import { GzipSchema } from '#api/gen/envoy/extensions/compression/gzip/compressor/v3/gzip_pb.ts';
import { ZstdSchema } from '#api/gen/envoy/extensions/compression/zstd/compressor/v3/zstd_pb.ts';
import type { TypedExtensionConfig } from '#api/gen/envoy/config/core/v3/extension_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';

/** What Node's compressors hold inside. */
interface Engine {
  readonly _handle?: {
    writeSync(
      flush: number,
      input: Buffer,
      inputAt: number,
      inputBytes: number,
      output: Buffer,
      outputAt: number,
      outputBytes: number,
    ): void;
  };
  /** Free bytes of the output, bytes of the input that are left. */
  readonly _writeState?: Uint32Array;
  close(): void;
}

/** A way to compress, as configured. */
export interface CompressorLibrary {
  /** `content-encoding`. */
  readonly encoding: 'gzip' | 'br' | 'zstd';
  /** Where the library stands in names of counters. */
  readonly statName: string;
  readonly flush: number;
  readonly finish: number;
  /** Size of the pieces that are made, bytes. */
  readonly chunkBytes: number;
  create(): Engine;
}

const noBytes = Buffer.alloc(0);

/** One body. `close` gives its memory back; until then it holds what the library needs (gzip: about 256 KiB). */
export class CompressedStream {
  readonly #library: CompressorLibrary;
  readonly #engine: Engine;

  constructor(library: CompressorLibrary) {
    this.#library = library;
    this.#engine = library.create();
  }

  /** All that can be told of the body so far; with `end` its last bytes. */
  write(data: Buffer, end: boolean): Buffer {
    const { flush, finish, chunkBytes } = this.#library;
    const { _handle: handle, _writeState: state } = this.#engine;
    if (handle === undefined || state === undefined) return noBytes;
    const pieces: Buffer[] = [];
    let at = 0;
    let left = data.length;
    for (;;) {
      const piece = Buffer.allocUnsafe(chunkBytes);
      handle.writeSync(end ? finish : flush, data, at, left, piece, 0, chunkBytes);
      const free = state[0] as number;
      const rest = state[1] as number;
      if (free < chunkBytes) pieces.push(piece.subarray(0, chunkBytes - free));
      at += left - rest;
      left = rest;
      if (free > 0) break;
    }
    return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  }

  close(): void {
    this.#engine.close();
  }
}

function inRange(name: string, value: number, low: number, high: number): number {
  if (value < low || value > high)
    throw new Error(`compressor_library: ${name} ${value} is not between ${low} and ${high}`);
  return value;
}

const defaultChunkBytes = 4096;

/** zlib's numbers of Envoy's strategies. */
const gzipStrategies = [
  constants.Z_DEFAULT_STRATEGY,
  constants.Z_FILTERED,
  constants.Z_HUFFMAN_ONLY,
  constants.Z_RLE,
  constants.Z_FIXED,
];

function readGzip(value: Uint8Array): CompressorLibrary {
  const proto = fromBinary(GzipSchema, value);
  const options = {
    memLevel: inRange('memory_level', proto.memoryLevel ?? 5, 1, 9),
    windowBits: inRange('window_bits', proto.windowBits ?? 12, 9, 15),
    level: proto.compressionLevel === 0 ? constants.Z_DEFAULT_COMPRESSION : proto.compressionLevel,
    strategy: gzipStrategies[proto.compressionStrategy] ?? constants.Z_DEFAULT_STRATEGY,
  };
  return {
    encoding: 'gzip',
    statName: 'gzip',
    flush: constants.Z_SYNC_FLUSH,
    finish: constants.Z_FINISH,
    chunkBytes: inRange('chunk_size', proto.chunkSize ?? defaultChunkBytes, 4096, 65536),
    create: () => createGzip(options) as unknown as Engine,
  };
}

const brotliModes = [
  constants.BROTLI_MODE_GENERIC,
  constants.BROTLI_MODE_GENERIC,
  constants.BROTLI_MODE_TEXT,
  constants.BROTLI_MODE_FONT,
];

function readBrotli(value: Uint8Array): CompressorLibrary {
  const proto = fromBinary(BrotliSchema, value);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: inRange('quality', proto.quality ?? 3, 0, 11),
    [constants.BROTLI_PARAM_LGWIN]: inRange('window_bits', proto.windowBits ?? 18, 10, 24),
    [constants.BROTLI_PARAM_LGBLOCK]: inRange('input_block_bits', proto.inputBlockBits ?? 24, 16, 24),
    [constants.BROTLI_PARAM_MODE]: brotliModes[proto.encoderMode] ?? constants.BROTLI_MODE_GENERIC,
    [constants.BROTLI_PARAM_DISABLE_LITERAL_CONTEXT_MODELING]: proto.disableLiteralContextModeling ? 1 : 0,
  };
  return {
    encoding: 'br',
    statName: 'brotli',
    flush: constants.BROTLI_OPERATION_FLUSH,
    finish: constants.BROTLI_OPERATION_FINISH,
    chunkBytes: inRange('chunk_size', proto.chunkSize ?? defaultChunkBytes, 4096, 65536),
    create: () => createBrotliCompress({ params }) as unknown as Engine,
  };
}

function readZstd(value: Uint8Array): CompressorLibrary {
  const proto = fromBinary(ZstdSchema, value);
  if (proto.dictionary !== undefined) throw new Error('compressor_library: zstd dictionary is not supported');
  const params: Record<number, number> = {
    [constants.ZSTD_c_compressionLevel]: proto.compressionLevel ?? 3,
    [constants.ZSTD_c_checksumFlag]: proto.enableChecksum ? 1 : 0,
  };
  if (proto.strategy !== 0) params[constants.ZSTD_c_strategy] = proto.strategy;
  return {
    encoding: 'zstd',
    statName: 'zstd',
    flush: constants.ZSTD_e_flush,
    finish: constants.ZSTD_e_end,
    chunkBytes: inRange('chunk_size', proto.chunkSize ?? defaultChunkBytes, 4096, 65536),
    create: () => createZstdCompress({ params }) as unknown as Engine,
  };
}

const readers: Readonly<Record<string, (value: Uint8Array) => CompressorLibrary>> = {
  [typeUrlOf(GzipSchema)]: readGzip,
  [typeUrlOf(BrotliSchema)]: readBrotli,
  [typeUrlOf(ZstdSchema)]: readZstd,
};

/** @throws Error for an unknown library, a value out of range, or a Node whose compressors cannot be driven. */
export function readLibrary(config: TypedExtensionConfig | undefined): CompressorLibrary {
  const any = config?.typedConfig;
  if (any === undefined) throw new Error('compressor_library is missing');
  const library = readers[any.typeUrl]?.(any.value);
  if (library === undefined) throw new Error(`compressor_library: ${any.typeUrl} is not supported`);
  const stream = new CompressedStream(library);
  const works = stream.write(Buffer.from('x'), true).length > 0;
  stream.close();
  if (!works) throw new Error(`compressor_library: this Node cannot compress ${library.encoding} in pieces`);
  return library;
}
