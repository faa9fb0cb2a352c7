/** Compressed responses: who is asked, what is compressed, what is left alone, and the counters of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingHttpHeaders, type Server, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { type Run, conformance } from '../harness/conformance.ts';

/** Answers with the headers that the request names and a body of as many bytes. */
let files: Server | undefined;

function body(bytes: number): Buffer {
  return Buffer.from('the quick brown fox '.repeat(Math.ceil(bytes / 20)).slice(0, bytes));
}

interface Page {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

function get(
  run: Run,
  path: string,
  accept: string | undefined,
  more: Record<string, string> = {},
): Promise<Page> {
  return new Promise((resolve, reject) => {
    const headers = { ...more, ...(accept === undefined ? {} : { 'accept-encoding': accept }) };
    request({ host: '127.0.0.1', port: run.port('in'), path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => void chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    })
      .on('error', reject)
      .end();
  });
}

const decoders: Readonly<Record<string, (data: Buffer) => Buffer>> = {
  gzip: gunzipSync,
  br: brotliDecompressSync,
  zstd: zstdDecompressSync,
};

conformance(import.meta.filename, {
  rows: ['6.20'],
  backends: [],
  async setUp() {
    files = createServer((incoming, response) => {
      const { 'x-headers': headers = '{}', 'x-bytes': bytes = '1000', 'x-chunks': chunks } = incoming.headers;
      const length = Number(bytes);
      const own = { 'content-type': 'text/html', ...(JSON.parse(String(headers)) as Record<string, string>) };
      const status = Number(incoming.headers['x-status'] ?? 200);
      const accepted = { 'x-accept-encoding': incoming.headers['accept-encoding'] ?? 'none' };
      if (chunks === undefined) {
        response.writeHead(status, { ...own, ...accepted, 'content-length': length });
        response.end(body(length));
        return;
      }
      response.writeHead(status, { ...own, ...accepted, trailer: 'x-sum' });
      for (let i = 0; i < Number(chunks); i++) response.write(body(length));
      response.addTrailers({ 'x-sum': 'yes' });
      response.end();
    });
    files.listen(0, '127.0.0.1');
    await once(files, 'listening');
    return { files: String((files.address() as AddressInfo).port) };
  },
  tearDown() {
    files?.closeAllConnections();
    files?.close();
  },
  cases: {
    'the client chooses': async (run) => {
      for (const [accept, encoding] of [
        ['gzip', 'gzip'],
        ['br', 'br'],
        ['zstd', 'zstd'],
        ['GZIP', undefined],
        ['gzip;q=0.1, br;q=0.9', 'br'],
        ['gzip;q=0, br;q=0', undefined],
        ['zstd, gzip', 'zstd'],
        ['*', 'gzip'],
        ['identity, gzip;q=0.5', undefined],
        ['deflate', undefined],
        ['deflate, gzip;q=0.3', 'gzip'],
        ['br;q=nonsense, gzip;q=0.1', 'gzip'],
        ['', undefined],
        [undefined, undefined],
      ] as const) {
        const page = await get(run, '/', accept);
        const at = String(accept);
        assert.equal(page.headers['content-encoding'], encoding, at);
        assert.equal(page.headers['vary'], 'Accept-Encoding', at);
        assert.equal(page.headers['content-length'], encoding === undefined ? '1000' : undefined, at);
        const plain = encoding === undefined ? page.body : decoders[encoding]?.(page.body);
        assert.ok(plain?.equals(body(1000)), at);
      }
    },
    'the response decides': async (run) => {
      for (const [what, headers, more, compressed, vary] of [
        ['too short', {}, { 'x-bytes': '99' }, false, undefined],
        ['just long enough', {}, { 'x-bytes': '100' }, true, 'Accept-Encoding'],
        ['another type', { 'content-type': 'image/png' }, {}, false, undefined],
        [
          'type with parameters',
          { 'content-type': 'application/json; charset=utf-8' },
          {},
          true,
          'Accept-Encoding',
        ],
        ['compressed before', { 'content-encoding': 'x' }, {}, false, undefined],
        ['no-transform', { 'cache-control': 'public, no-transform' }, {}, false, undefined],
        ['status', {}, { 'x-status': '404' }, false, undefined],
        ['vary', { vary: 'Cookie' }, {}, true, 'Cookie, Accept-Encoding'],
        ['vary with it', { vary: 'Accept-Encoding, Cookie' }, {}, true, 'Accept-Encoding, Cookie'],
      ] as const) {
        const page = await get(run, '/only', 'gzip', { ...more, 'x-headers': JSON.stringify(headers) });
        assert.equal(page.headers['content-encoding'] === 'gzip', compressed, what);
        // The other two compressors of the chain may still add it where they would have compressed.
        if (compressed) assert.equal(page.headers['vary'], vary, what);
      }
    },
    'validators of what is compressed are weak or gone': async (run) => {
      const etag = (value: string): Record<string, string> => ({
        'x-headers': JSON.stringify({ etag: value }),
      });
      assert.equal((await get(run, '/', 'gzip', etag('"a"'))).headers['etag'], 'W/"a"');
      assert.equal((await get(run, '/', 'gzip', etag('W/"a"'))).headers['etag'], 'W/"a"');
      assert.equal((await get(run, '/', 'br', etag('"a"'))).headers['etag'], undefined);
      const zstd = await get(run, '/', 'zstd', etag('"a"'));
      assert.equal(zstd.headers['etag'], '"a"');
      assert.equal(zstd.headers['content-encoding'], undefined);
    },
    'in pieces, with trailers': async (run) => {
      for (const encoding of ['gzip', 'br', 'zstd']) {
        const page = await get(run, '/', encoding, { 'x-chunks': '50', 'x-bytes': '10000' });
        assert.equal(page.headers['content-encoding'], encoding);
        const plain = decoders[encoding]?.(page.body);
        assert.equal(plain?.length, 500_000);
        assert.ok(plain.subarray(490_000).equals(body(10_000)));
      }
    },
    'routes override': async (run) => {
      assert.equal((await get(run, '/off', 'gzip')).headers['content-encoding'], undefined);
      assert.equal((await get(run, '/', 'gzip')).headers['x-accept-encoding'], 'gzip');
      const removed = await get(run, '/removed', 'gzip');
      assert.equal(removed.headers['x-accept-encoding'], 'none');
      assert.equal(removed.headers['content-encoding'], 'gzip');
    },
    counters: async (run) => {
      const read = async (): Promise<Record<string, number>> => {
        const { body: text } = await run.admin('/stats?filter=compressor');
        return Object.fromEntries(
          text
            .trim()
            .split('\n')
            .filter((line) => !line.includes('total_compressed') && !line.includes('.request.'))
            .map((line) => [
              line.slice(0, line.lastIndexOf(':')),
              Number(line.slice(line.lastIndexOf(':') + 1)),
            ]),
        );
      };
      const before = await read();
      await get(run, '/', 'gzip');
      await get(run, '/', 'br');
      await get(run, '/', '*');
      await get(run, '/', 'identity');
      await get(run, '/', 'nothing');
      await get(run, '/', undefined);
      await get(run, '/', 'gzip', { 'x-bytes': '10' });
      await get(run, '/', 'zstd', { 'x-headers': '{"etag":"x"}' });
      const after = await read();
      const grown: Record<string, number> = {};
      for (const [name, value] of Object.entries(after))
        if (value !== before[name]) grown[name] = value - (before[name] ?? 0);
      assert.deepEqual(grown, expected);
    },
  },
});

/** What the requests of the last case add. */
const expected: Readonly<Record<string, number>> = {
  'http.in.compressor.small.brotli.compressed': 1,
  'http.in.compressor.small.brotli.content_length_too_small': 1,
  'http.in.compressor.small.brotli.header_compressor_overshadowed': 2,
  'http.in.compressor.small.brotli.header_compressor_used': 1,
  'http.in.compressor.small.brotli.header_identity': 1,
  'http.in.compressor.small.brotli.header_not_valid': 1,
  'http.in.compressor.small.brotli.header_wildcard': 1,
  'http.in.compressor.small.brotli.no_accept_header': 1,
  'http.in.compressor.small.brotli.not_compressed': 7,
  'http.in.compressor.small.brotli.total_uncompressed_bytes': 1000,
  'http.in.compressor.text.gzip.header_compressor_overshadowed': 2,
  'http.in.compressor.text.gzip.header_compressor_used': 1,
  'http.in.compressor.text.gzip.header_identity': 1,
  'http.in.compressor.text.gzip.header_not_valid': 1,
  'http.in.compressor.text.gzip.header_wildcard': 1,
  'http.in.compressor.text.gzip.no_accept_header': 1,
  'http.in.compressor.text.gzip.response.compressed': 2,
  'http.in.compressor.text.gzip.response.content_length_too_small': 1,
  'http.in.compressor.text.gzip.response.not_compressed': 6,
  'http.in.compressor.text.gzip.response.total_uncompressed_bytes': 2000,
  'http.in.compressor.z.zstd.header_compressor_overshadowed': 2,
  'http.in.compressor.z.zstd.header_compressor_used': 1,
  'http.in.compressor.z.zstd.header_identity': 1,
  'http.in.compressor.z.zstd.header_not_valid': 1,
  'http.in.compressor.z.zstd.header_wildcard': 1,
  'http.in.compressor.z.zstd.no_accept_header': 1,
  'http.in.compressor.z.zstd.not_compressed_etag': 1,
  'http.in.compressor.z.zstd.response.content_length_too_small': 1,
  'http.in.compressor.z.zstd.response.not_compressed': 8,
};
