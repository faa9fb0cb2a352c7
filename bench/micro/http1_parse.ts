/**
 * Parsing and writing of heads, and header look-ups. Prints nanoseconds per operation, the best of many rounds.
 *
 *   node bench/micro/http1_parse.ts
 */
import { RequestHeaderMap, ResponseHeaderMap } from '#proxy/http/header_map.ts';
import { encodeRequestHead, encodeResponseHead } from '#proxy/http/http1/head_encoder.ts';
import {
  HeadInfo,
  type HeadLimits,
  parseRequestHead,
  parseResponseHead,
} from '#proxy/http/http1/head_parser.ts';
import { latin1Slice } from '#proxy/http/latin1.ts';

const limits: HeadLimits = {
  maxHeaders: 100,
  underscores: 'allow',
  customMethods: false,
  allowChunkedLength: false,
};
const request = Buffer.from(
  'GET /productpage?u=normal HTTP/1.1\r\nHost: productpage:9080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n' +
    'Accept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef\r\n' +
    'X-Request-Id: 23a37732-e001-9302-b72f-284faaf8f7cc\r\nX-Forwarded-Proto: http\r\n\r\n',
);
const response = Buffer.from(
  'HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 16:18:17 GMT\r\nContent-Type: text/plain\r\n' +
    'Content-Length: 1024\r\nLast-Modified: Sun, 22 Nov 2026 16:18:17 GMT\r\nETag: "6b0315c9-400"\r\n\r\n',
);
const info = new HeadInfo();

function parseRequest(): RequestHeaderMap {
  const headers = new RequestHeaderMap();
  const text = latin1Slice(request, 0, request.length);
  parseRequestHead(request, text, 0, text.indexOf('\r\n\r\n') + 2, headers, info, limits);
  return headers;
}

function parseResponse(): ResponseHeaderMap {
  const headers = new ResponseHeaderMap();
  const text = latin1Slice(response, 0, response.length);
  parseResponseHead(response, text, 0, text.indexOf('\r\n\r\n') + 2, headers, info, limits);
  return headers;
}

const parsedRequest = parseRequest();
const parsedResponse = parseResponse();
let sink = 0;

const cases: Readonly<Record<string, () => void>> = {
  'parse a request of 7 headers': () => (sink += parseRequest().size),
  'parse a response of 6 headers': () => (sink += parseResponse().size),
  // Flattened, as a write would.
  'write a request of 7 headers': () =>
    (sink += Buffer.byteLength(encodeRequestHead(parsedRequest, undefined), 'latin1')),
  'write a response of 6 headers': () =>
    (sink += Buffer.byteLength(encodeResponseHead(parsedResponse, undefined), 'latin1')),
  'find the last header': () => (sink += parsedRequest.getFirst('x-forwarded-proto') === undefined ? 0 : 1),
  'miss a header': () => (sink += parsedRequest.has('x-envoy-retry-on') ? 1 : 0),
};

for (const [name, run] of Object.entries(cases)) {
  let best = Infinity;
  for (let round = 0; round < 30; round++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < 20_000; i++) run();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 20_000);
  }
  process.stdout.write(`${name.padEnd(32)} ${best.toFixed(0)} ns\n`);
}
if (sink === 0) process.exitCode = 1;
