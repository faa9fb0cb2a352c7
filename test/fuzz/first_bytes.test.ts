/**
 * What is read of a connection's first bytes: the client hello of TLS, PROXY headers, HTTP. Whatever comes: no exception; what
 * was once decided stays decided when more bytes come; a decision never waits for ever.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detectHttp } from '#proxy/filters/listener/http_inspector/http_inspector.ts';
import { maxClientHelloBytes, parseClientHello } from '#proxy/filters/listener/tls_inspector/client_hello.ts';
import {
  encodeBinaryHeader,
  encodeTextHeader,
  maxHeaderBytes,
  parseProxyHeader,
} from '#proxy/network/proxy_header.ts';
import { mutate, pick, randomFrom } from './mutate.ts';

const rounds = 4000;

function bytes(...parts: (number | Buffer | string)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))));
}

/** A length of two octets, then the bytes. */
function vector(content: Buffer, octets = 2): Buffer {
  const length = Buffer.alloc(octets);
  length.writeUIntBE(content.length, 0, octets);
  return Buffer.concat([length, content]);
}

function hello(serverName: string, protocols: readonly string[]): Buffer {
  const name = vector(bytes(0, vector(Buffer.from(serverName))));
  const alpn = vector(Buffer.concat(protocols.map((protocol) => vector(Buffer.from(protocol), 1))));
  const extensions = bytes(0, 0, vector(name), 0, 16, vector(alpn), 0xff, 1, vector(Buffer.of(0)));
  const body = bytes(
    3,
    3,
    Buffer.alloc(32, 7),
    vector(Buffer.alloc(32), 1),
    vector(Buffer.of(0x13, 1)),
    1,
    0,
    vector(extensions),
  );
  return bytes(22, 3, 1, vector(bytes(1, vector(body, 3))));
}

const address = { ip: '192.0.2.1', port: 4711 };
const six = { ip: '2001:db8::1', port: 80 };
const proxied = {
  source: address,
  destination: { ip: '192.0.2.2', port: 80 },
  tlvs: [{ type: 0xea, value: Buffer.from('x') }],
};
const corpus: readonly Buffer[] = [
  hello('outbound_.80_._.reviews.default.svc.cluster.local', ['istio', 'h2']),
  hello('a', []),
  encodeTextHeader(address, proxied.destination),
  encodeTextHeader(six, six),
  encodeBinaryHeader(proxied),
  encodeBinaryHeader(undefined),
  Buffer.from('PROXY UNKNOWN\r\n'),
  Buffer.from('GET /x HTTP/1.1\r\nhost: a\r\n\r\n'),
  Buffer.from('\r\nM-SEARCH * HTTP/1.0\r\n\r\n'),
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
];

const readers: Readonly<
  Record<
    string,
    { read: (data: Buffer) => unknown; waits: (found: unknown) => boolean; max: number | undefined }
  >
> = {
  'client hello': {
    read: parseClientHello,
    waits: (found) => (found as { kind: string }).kind === 'more',
    max: maxClientHelloBytes,
  },
  'PROXY header': {
    read: parseProxyHeader,
    waits: (found) => (found as { kind: string }).kind === 'more',
    max: maxHeaderBytes,
  },
  // Its listener filter ends the waiting at its own bound.
  HTTP: { read: detectHttp, waits: (found) => found === 'more', max: undefined },
};

for (const [name, { read, waits, max }] of Object.entries(readers))
  test(`${name}: ${rounds} changed beginnings, at every length`, () => {
    const random = randomFrom(name.length);
    const kinds = new Set<unknown>();
    for (let round = 0; round < rounds; round++) {
      const data = Buffer.concat([mutate(random, pick(random, corpus)), Buffer.from('more')]);
      let decided: unknown;
      for (let length = 0; length <= data.length; length++) {
        const found = read(data.subarray(0, length));
        if (decided === undefined && waits(found)) continue;
        decided ??= found;
        assert.deepEqual(found, decided, `${data.toString('hex')} at ${length}`);
      }
      kinds.add(typeof decided === 'object' ? (decided as { kind: string }).kind : decided);
      // Endless zeros are not waited for beyond the bound.
      if (max !== undefined && round % 100 === 0)
        assert.ok(!waits(read(Buffer.concat([data, Buffer.alloc(max)]))));
    }
    assert.ok(kinds.size >= 2, [...kinds].join());
  });

test('headers that we write are read back', () => {
  const random = randomFrom(2);
  for (let round = 0; round < 500; round++) {
    const ip = (): string => Array.from({ length: 4 }, () => Math.floor(random() * 256)).join('.');
    const port = (): number => Math.floor(random() * 65_536);
    const info = {
      source: { ip: ip(), port: port() },
      destination: { ip: ip(), port: port() },
      tlvs: Array.from({ length: Math.floor(random() * 4) }, () => ({
        type: Math.floor(random() * 256),
        value: Buffer.alloc(Math.floor(random() * 40), 'v'),
      })),
    };
    const binary = encodeBinaryHeader(info);
    assert.deepEqual(parseProxyHeader(binary), { kind: 'header', length: binary.length, ...info });
    const text = encodeTextHeader(info.source, info.destination);
    assert.deepEqual(parseProxyHeader(text), { kind: 'header', length: text.length, ...info, tlvs: [] });
  }
});
