import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HttpVersion, detectHttp } from './http_inspector.ts';

const cases: [string, HttpVersion][] = [
  ['', 'more'],
  ['GET / HTTP/1.1\r\n', 'http/1.1'],
  ['GET / HTTP/1.1\nhost: x', 'http/1.1'],
  ['\r\nPOST /x HTTP/1.0\r\n', 'http/1.0'],
  ['GET / HTTP/1.1', 'more'],
  ['GE', 'more'],
  ['GEX', 'none'],
  ['GET / SIP/2.0\r\n', 'none'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'h2c'],
  ['PRI * HTTP/2.0\r\n\r\nSM', 'more'],
  ['PRI * HTTP/2.0\r\n\r\nXX', 'none'],
  ['P', 'more'],
  ['PUT /a HTTP/1.1\r\n', 'http/1.1'],
  ['M-SEARCH * HTTP/1.1\r\n', 'http/1.1'],
  ['\x16\x03\x01', 'none'],
  ['SSH-2.0-OpenSSH', 'none'],
  ['*1\r\n$4\r\nPING\r\n', 'none'],
  ['AVERYLONGWORDWITHOUTSPACE', 'none'],
];

for (const [text, expected] of cases)
  test(`${JSON.stringify(text)} is ${expected}`, () =>
    assert.equal(detectHttp(Buffer.from(text, 'latin1')), expected));

test('every prefix of a request keeps the answer open or gives it', () => {
  for (const text of ['OPTIONS * HTTP/1.1\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']) {
    const whole = Buffer.from(text);
    for (let length = 0; length < whole.length; length++)
      assert.equal(detectHttp(whole.subarray(0, length)), 'more', JSON.stringify(text.slice(0, length)));
  }
});
