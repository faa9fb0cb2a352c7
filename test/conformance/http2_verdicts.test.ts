/** Which HTTP/2 requests are answered and which are refused (RFC 9113 8, Envoy's limits). */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { HeaderName } from '#proxy/http/header_names.ts';
import { HpackDecoder } from '#proxy/http/hpack/decoder.ts';
import { encodeAuthority, encodeMethod, encodePath, encodeScheme } from '#proxy/http/hpack/encoder.ts';
import { FrameType } from '#proxy/http/http2/frames/frame_header.ts';
import { settingsAck, settingsFrame } from '#proxy/http/http2/frames/settings.ts';
import {
  clientPreface,
  data,
  frame,
  headers,
  rawField,
  requestBlock,
  windowUpdate,
} from '#proxy/http/http2/testing.ts';
import { conformance, type Run } from '../harness/conformance.ts';

/** `200` and such, or `refused` when the stream is reset or the connection ends. */
function verdict(port: number, frames: string): Promise<string> {
  return new Promise((resolve) => {
    let input = Buffer.alloc(0);
    const decoder = new HpackDecoder(4096);
    const socket = connect(port, '127.0.0.1');
    const done = (what: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(what);
    };
    const timer = setTimeout(() => done('nothing'), 8000);
    socket.on('error', () => {});
    socket.on('close', () => done('refused'));
    socket.on('data', (chunk: Buffer) => {
      input = Buffer.concat([input, chunk]);
      while (input.length >= 9 && input.length >= 9 + input.readUIntBE(0, 3)) {
        const end = 9 + input.readUIntBE(0, 3);
        if (input[3] === FrameType.rstStream || input[3] === FrameType.goaway) done('refused');
        if (input[3] === FrameType.headers) {
          let status = '';
          const onField = (name: HeaderName, value: string): void => {
            if (name.name === ':status') status = value;
          };
          decoder.decode(input, 9, end, { onField });
          done(status);
          return;
        }
        input = input.subarray(end);
      }
    });
    socket.write(clientPreface + settingsFrame([]) + settingsAck + frames, 'latin1');
  });
}

const get = (more: string): string => headers(1, requestBlock('GET', '/', more), true);
const post = (more: string, ...body: string[]): string =>
  headers(1, requestBlock('POST', '/', more), false) +
  body.map((part, i) => data(1, part, i === body.length - 1)).join('');
const built = (
  method: string,
  scheme: string,
  path: string,
  authority: string | undefined,
  more = '',
): string =>
  headers(
    1,
    encodeMethod(method) +
      encodeScheme(scheme) +
      encodePath(path) +
      (authority === undefined ? '' : encodeAuthority(authority)) +
      more,
    true,
  );
const fields = (count: number): string =>
  Array.from({ length: count }, (_, i) => rawField(`h${i}`, 'v')).join('');

const answered: Readonly<Record<string, string>> = {
  plain: get(''),
  'spaces around a value': get(rawField('a', ' b ')),
  'a tab in a value': get(rawField('a', 'b\tc')),
  'te: trailers': get(rawField('te', 'trailers')),
  'a name with an underscore': get(rawField('a_b', 'c')),
  'cookie crumbs': get(rawField('cookie', 'a=1') + rawField('cookie', 'b=2')),
  '95 fields': get(fields(95)),
  '12 KiB of fields': headers(1, requestBlock('GET', '/', rawField('a', 'b'.repeat(1200)).repeat(10)), true),
  'host in place of authority': built('GET', 'http', '/', undefined, rawField('host', 'h')),
  'host beside authority': get(rawField('host', 'other')),
  'a path with a star in it': built('GET', 'http', '/*', 'h'),
  'content-length that fits': post(rawField('content-length', '4'), 'ab', 'cd'),
  'empty DATA now and then': post('', '', 'a', '', 'b'),
  trailers: headers(1, requestBlock('POST'), false) + data(1, 'x') + headers(1, rawField('t', 'v'), true),
  '20 CONTINUATION frames':
    frame(FrameType.headers, 1, 1, requestBlock()) +
    frame(FrameType.continuation, 0, 1, rawField('a', 'b')).repeat(19) +
    frame(FrameType.continuation, 4, 1, rawField('a', 'b')),
  '500 PINGs': frame(FrameType.ping, 0, 0, '12345678').repeat(500) + get(''),
  '50 PRIORITY frames': frame(FrameType.priority, 0, 1, '\0\0\0\0\x10').repeat(50) + get(''),
  'an unknown frame and an unknown setting': frame(200, 7, 0, 'x') + settingsFrame([[99, 1]]) + get(''),
};

const refused: Readonly<Record<string, string>> = {
  'NUL in a value': get(rawField('a', 'b\0c')),
  'CR in a value': get(rawField('a', 'b\rc')),
  'LF in a value': get(rawField('a', 'b\nc')),
  'DEL in a value': get(rawField('a', 'b\x7fc')),
  'an empty name': get(rawField('', 'x')),
  'a name in upper case': get(rawField('Abc', 'x')),
  'a name with a space': get(rawField('a b', 'x')),
  'an unknown pseudo header': headers(1, requestBlock() + rawField(':x', 'y'), true),
  'a pseudo header twice': headers(1, requestBlock() + rawField(':path', '/'), true),
  'a pseudo header behind a field': headers(1, rawField('a', 'b') + requestBlock(), true),
  connection: get(rawField('connection', 'close')),
  'keep-alive': get(rawField('keep-alive', '5')),
  'proxy-connection': get(rawField('proxy-connection', 'x')),
  'transfer-encoding': get(rawField('transfer-encoding', 'chunked')),
  upgrade: get(rawField('upgrade', 'websocket')),
  'te: gzip': get(rawField('te', 'gzip')),
  'no authority': built('GET', 'http', '/', undefined),
  'two hosts': built('GET', 'http', '/', undefined, rawField('host', 'a') + rawField('host', 'b')),
  'an authority with userinfo': built('GET', 'http', '/', 'u@h'),
  'an authority with a space': built('GET', 'http', '/', 'a b'),
  'a path with a space': built('GET', 'http', '/a b', 'h'),
  'a path without slash': built('GET', 'http', 'x', 'h'),
  'an absolute path': built('GET', 'http', 'http://a/b', 'h'),
  'a star for GET': built('GET', 'http', '*', 'h'),
  'a method with a space': built('GE T', 'http', '/', 'h'),
  'a scheme with a space': built('GET', 'ht tp', '/', 'h'),
  'extended CONNECT that is not offered': headers(
    1,
    requestBlock('CONNECT') + rawField(':protocol', 'websocket'),
    false,
  ),
  'content-length not a number': post(rawField('content-length', 'x'), 'a'),
  'content-length with a sign': post(rawField('content-length', '+1'), 'a'),
  'content-length as a list': post(rawField('content-length', '1, 1'), 'a'),
  'two content-lengths': post(rawField('content-length', '1').repeat(2), 'a'),
  'a body too short': post(rawField('content-length', '5'), 'abc'),
  'a body too long': post(rawField('content-length', '2'), 'abc'),
  'a length without body': get(rawField('content-length', '5')),
  '101 fields': get(fields(101)),
  '70 KiB of fields': headers(1, requestBlock('GET', '/', rawField('a', 'b'.repeat(7000)).repeat(10)), true),
  'one field of 70 KiB': headers(1, requestBlock('GET', '/', rawField('a', 'b'.repeat(70_000))), true),
  'two empty DATA frames': headers(1, requestBlock('POST'), false) + data(1, '').repeat(2),
  'two empty CONTINUATION frames':
    frame(FrameType.headers, 1, 1, requestBlock()) + frame(FrameType.continuation, 0, 1).repeat(2),
  '1000 CONTINUATION frames':
    frame(FrameType.headers, 1, 1, requestBlock()) +
    frame(FrameType.continuation, 0, 1, rawField('a', 'b')).repeat(1000) +
    frame(FrameType.continuation, 4, 1, rawField('a', 'b')),
  '102 PRIORITY frames': frame(FrameType.priority, 0, 1, '\0\0\0\0\x10').repeat(102) + get(''),
  '20 WINDOW_UPDATE frames before a stream': windowUpdate(0, 1).repeat(20) + get(''),
  'a compression error': headers(1, '\xff\xff\xff\xff\xff\xff', true),
  'a frame on an even stream': headers(2, requestBlock(), true),
  'DATA before HEADERS': data(1, 'x', true),
};

async function compare(run: Run, cases: Readonly<Record<string, string>>, expected: string): Promise<void> {
  const verdicts = await Promise.all(
    Object.entries(cases).map(async ([name, frames]) => [name, await verdict(run.port('in'), frames)]),
  );
  assert.deepEqual(
    verdicts.filter(([, got]) => got !== expected),
    [],
  );
}

conformance(import.meta.filename, {
  rows: ['5.2'],
  cases: {
    // First: the file holds nothing else yet.
    'what is refused stands in the log': async (run) => {
      const lines: readonly (readonly [string, string])[] = [
        ['a name in upper case', '- 0 DPE http2.invalid.header.field'],
        ['two hosts', '- 0 DPE http2.invalid.header.field'],
        ['no authority', '- 0 DPE http2.violation.of.messaging.rule'],
        ['a length without body', '- 0 DPE http2.violation.of.messaging.rule'],
        ['101 fields', '- 0 DR http2.too_many_headers'],
        ['70 KiB of fields', '- 0 DR http2.header_list_size_too_large'],
      ];
      for (const [name] of lines) await verdict(run.port('in'), refused[name] ?? '');
      const expected = lines.map(([, line]) => line);
      assert.deepEqual((await run.lines('access.log', lines.length)).toSorted(), expected.toSorted());
    },
    'what is answered': (run) => compare(run, answered, '200'),
    'what is refused': (run) => compare(run, refused, 'refused'),
  },
});
