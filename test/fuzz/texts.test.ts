/**
 * Small texts from the network and from configuration: identities, tokens, addresses, timeouts, cookies, queries, formats,
 * patterns, base64, iptables. Whatever comes is read or refused as documented, what is written is read back, and what has a
 * plain meaning agrees with a plain reading of it.
 */
import assert from 'node:assert/strict';
import { BlockList, isIP } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { RE2JS } from 're2js';
import { parseResolvConf, parseUpstream } from '#agent/dns/resolv_conf.ts';
import { parseCidr } from '#capture/cidr_list.ts';
import { parseSavedState, stateCleanupCommands } from '#capture/saved_state.ts';
import { createOperators } from '#proxy/access_loggers/operators.ts';
import type { CelSubject } from '#proxy/cel/attributes.ts';
import { celText, compileCelExpression } from '#proxy/cel/expression.ts';
import { parseMask } from '#proxy/admin/config_mask.ts';
import { negotiate } from '#proxy/filters/http/compressor/negotiation.ts';
import { WebTextDecoder, WebTextEncoder } from '#proxy/filters/http/grpc_web/text_codec.ts';
import { Jwks } from '#proxy/filters/http/jwt_authn/jwks.ts';
import { parseJwt } from '#proxy/filters/http/jwt_authn/token.ts';
import { addressFromForwardedFor } from '#proxy/filters/network/http_connection_manager/forwarded_for.ts';
import { decodeCookie, encodeCookie } from '#proxy/filters/http/stateful_session/session_state.ts';
import { compileUriTemplate } from '#proxy/filters/rbac/uri_template.ts';
import { parseGrpcTimeout } from '#proxy/http/grpc.ts';
import { compileHeaderFormat } from '#proxy/http/header_formatter.ts';
import { RequestHeaderMap } from '#proxy/http/header_map.ts';
import { isPlainPath, normalizePath } from '#proxy/http/path_normalization.ts';
import { compileRegex } from '#proxy/http/regex.ts';
import { AcceptedConnectionInfo } from '#proxy/network/connection_info.ts';
import { cidrContains, createCidr, formatIp, parseIp } from '#proxy/network/ip.ts';
import { formatGrpcTimeout } from '#proxy/router/grpc_timeout.ts';
import { cookieValue, queryParameter } from '#proxy/router/route_match.ts';
import { stripPort } from '#proxy/router/virtual_host_match.ts';
import { StreamInfo } from '#proxy/stream_info/stream_info.ts';
import { hostKeyOfText } from '#proxy/upstream/host.ts';
import { formatSpiffe, parseSpiffe } from '#security/spiffe.ts';
import { compileTextFormat, FormatError } from '#telemetry/access_log/format.ts';
import { mutate, pick, randomFrom } from './mutate.ts';

const runs = { numRuns: 3000, seed: 7 };

/** Calls with changed samples. */
function each(seed: number, samples: readonly string[], rounds: number, check: (text: string) => void): void {
  const random = randomFrom(seed);
  for (let i = 0; i < rounds; i++)
    check(mutate(random, Buffer.from(pick(random, samples), 'latin1')).toString('latin1'));
}

/** Runs what may refuse with an Error of its own; TypeError and RangeError are faults of ours. */
function refusesCleanly<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    assert.ok(
      error instanceof Error && !(error instanceof TypeError) && !(error instanceof RangeError),
      String(error),
    );
    assert.ok(error.message.length > 0);
    return undefined;
  }
}

test('SPIFFE ids: what is read is written back', () => {
  let read = 0;
  each(1, ['spiffe://cluster.local/ns/default/sa/a', 'spiffe://td_1/ns/a-b/sa/c.d'], 20_000, (text) => {
    const identity = parseSpiffe(text);
    if (identity === undefined) return;
    read++;
    assert.equal(formatSpiffe(identity), text);
    assert.ok(!/[%?#\\\0]|\/\.{1,2}(\/|$)/.test(text), text);
  });
  assert.ok(read > 100, String(read));
});

test('tokens and key sets', () => {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const samples = [
    `${part({ alg: 'RS256', kid: 'a' })}.${part({ iss: 'i', aud: ['x'], exp: 1 })}.c2ln`,
    `${part({ alg: 'ES256' })}.${part({ sub: 's', nbf: 1.5, nested: { a: [1] } })}.c2ln`,
  ];
  each(2, samples, 20_000, (text) => {
    const jwt = parseJwt(text);
    if (typeof jwt === 'string') return;
    assert.equal(jwt.text, text);
    assert.equal(text.split('.').length, 3);
    for (const time of [jwt.expires, jwt.notBefore]) assert.ok(time === undefined || time >= 0);
  });
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
  const token = parseJwt(samples[1]!);
  assert.ok(typeof token !== 'string');
  assert.ok(createPublicKey({ key, format: 'jwk' }));
  let usable = 0;
  each(
    3,
    [
      JSON.stringify({ keys: [{ ...key, kid: 'a' }] }),
      JSON.stringify({ keys: [{ kty: 'oct', k: 'YQ' }, key] }),
    ],
    2000,
    (text) => {
      let set: Jwks;
      try {
        set = new Jwks(text);
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof TypeError), String(error));
        return;
      }
      usable++;
      assert.notEqual(set.verify(token), undefined, 'a forged signature');
    },
  );
  assert.ok(usable > 20);
});

test('addresses and ranges agree with the platform', () => {
  const four = fc.ipV4();
  const any = fc.oneof(four, fc.ipV6());
  fc.assert(
    fc.property(any, any, fc.integer({ min: 0, max: 128 }), (text, other, bits) => {
      const bytes = parseIp(text);
      assert.ok(bytes !== undefined, text);
      assert.deepEqual(parseIp(formatIp(bytes)), bytes);
      const family = bytes.length === 4 ? 'ipv4' : 'ipv6';
      if (family === 'ipv4' && text.includes(':')) return; // a mapped one
      const size = Math.min(bits, bytes.length * 8);
      const list = new BlockList();
      list.addSubnet(text, size, family);
      for (const candidate of [text, other]) {
        const ip = parseIp(candidate);
        if (ip === undefined || (ip.length === 4) !== !candidate.includes(':')) continue;
        const wanted: boolean = ip.length === bytes.length && list.check(candidate, family);
        assert.equal(cidrContains(createCidr(text, size), ip), wanted, `${candidate} in ${text}/${size}`);
      }
    }),
    runs,
  );
  each(
    4,
    ['10.0.0.1', '2001:db8::1', '::ffff:1.2.3.4', '10.0.0.0/8', 'fe80::1%eth0', '1.2.3.4:53', '[::1]:53'],
    20_000,
    (text) => {
      assert.equal(parseIp(text) !== undefined, isIP(text) !== 0, text);
      const cidr = parseCidr(text);
      if (cidr !== undefined) assert.deepEqual(parseCidr(cidr.text), cidr);
      const upstream = parseUpstream(text);
      if (upstream !== undefined)
        assert.ok(isIP(upstream.address) !== 0 && upstream.port > 0 && upstream.port < 65_536);
      const forwarded = addressFromForwardedFor(`9.9.9.9, ${text}`, 0);
      if (forwarded !== undefined) assert.ok(isIP(forwarded.ip) !== 0, text);
      assert.ok(text.startsWith(stripPort(text)));
      assert.ok(
        parseResolvConf(`nameserver ${text}\n${text}`).every(
          ({ address }) => isIP(address.split('%')[0] ?? '') !== 0,
        ),
      );
    },
  );
});

test('grpc-timeout: what is written is at most a step away', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000_000 }), (ms) => {
      const text = formatGrpcTimeout(ms);
      assert.match(text, /^\d{1,8}[HMSmun]$/);
      const read = parseGrpcTimeout(text);
      assert.ok(read !== undefined && Math.abs(read - ms) <= ms / 10_000 + 1, `${ms} ${text} ${read}`);
    }),
    runs,
  );
  each(5, ['100m', '99999999H', '1u', '5S'], 5000, (text) => {
    const read = parseGrpcTimeout(text);
    assert.equal(read !== undefined, /^\d{1,8}[HMSmun]$/.test(text), JSON.stringify(text));
    assert.ok(read === undefined || Number.isSafeInteger(read));
  });
});

const word = fc.string({ unit: fc.constantFrom('a', 'b', '=', ' ', '"', '%', '+', '.', '\t'), maxLength: 6 });

test('cookies and query parameters agree with a plain reading', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(word, word), { maxLength: 6 }),
      fc.constantFrom('a', 'b', 'ab'),
      (pairs, name) => {
        const header = pairs.map(([key, value]) => `${key}=${value}`).join(';');
        const headers = new RequestHeaderMap(['x', 'cookie'], ['1', header]);
        const first = header
          .split(';')
          .map((pair) => /^\s*([^=]+?)\s*=\s*(.*?)\s*$/.exec(pair))
          .find((match) => match?.[1] === name)?.[2];
        assert.equal(cookieValue(headers, name), first?.replace(/^"(.*)"$/, '$1'), header);
        const query = pairs.map(([key, value]) => `${key}=${value}`).join('&');
        const value = query
          .split('&')
          .map((pair) => [pair.split('=', 1)[0], pair.slice(pair.indexOf('=') + 1)] as const)
          .find(([key]) => key === name)?.[1];
        assert.equal(queryParameter(`/p?${query}`, name), pairs.length === 0 ? undefined : value, query);
      },
    ),
    runs,
  );
});

test('cookies of sticky sessions: what is written is read back, other bytes are an address or none', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.nat(), fc.nat(), (address, expires, now) => {
      const read = decodeCookie(Buffer.from(encodeCookie(address, expires)), now);
      assert.equal(read, expires !== 0 && now > expires ? undefined : address.toWellFormed());
    }),
    runs,
  );
  const samples = ['10.0.0.1:80', '[2001:db8::1]:8080', '/run/app.sock'];
  const messages = samples.map((address) => Buffer.from(encodeCookie(address, 1e10)).toString('latin1'));
  each(11, [...samples, ...messages], 5000, (text) => {
    const address = decodeCookie(Buffer.from(text, 'latin1'), 1);
    assert.ok(address === undefined || typeof hostKeyOfText(address) === 'string');
  });
});

test('normalized paths stay as they are', () => {
  const segment = fc.constantFrom(
    'a',
    '.',
    '..',
    '%2e',
    '%2E%2E',
    '%2f',
    '%5c',
    '\\',
    '',
    ';',
    '..;x',
    '%41',
    '%',
    '{',
    '%00',
    '~',
  );
  const options = { normalize: true, mergeSlashes: true, escapedSlashes: 'forward' } as const;
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 8 }), (segments) => {
      const first = normalizePath(`/${segments.join('/')}`, options);
      if (first.kind === 'reject') return;
      assert.ok(!/\/\.{1,2}(\/|$)|\\|%2f|%5c/i.test(first.path) && first.path.startsWith('/'), first.path);
      assert.deepEqual(normalizePath(first.path, options), first);
      if (isPlainPath(`/${segments.join('/')}`)) assert.equal(first.path, `/${segments.join('/')}`);
    }),
    runs,
  );
});

test('formats of access logs and of header values', () => {
  const operators = createOperators({ hostname: 'h', variables: {} });
  const samples = [
    '[%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%] "%REQ(:METHOD)% %REQ(X-A?:PATH):20%" %RESPONSE_CODE% %%\n',
    '%DYNAMIC_METADATA(a:b:c):10% %FILTER_STATE(x:PLAIN)% %DURATION% %UPSTREAM_HOST%',
    '%PROTOCOL% %ENVIRONMENT(A)% %COALESCE({"operators":["HOSTNAME"]})%',
    '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(x):5% %START_TIME% %PER_REQUEST_STATE(a)%',
  ];
  let good = 0;
  each(6, samples, 8000, (text) => {
    try {
      compileTextFormat(text, operators);
      good++;
    } catch (error) {
      assert.ok(error instanceof FormatError, `${JSON.stringify(text)}: ${String(error)}`);
    }
    refusesCleanly(() => compileHeaderFormat(text));
  });
  assert.ok(good > 200, String(good));
});

test('patterns mean what RE2 says', () => {
  const atom = fc.constantFrom(
    'a',
    'b',
    '.',
    '[ab]',
    '[^a]',
    '\\d',
    '\\w',
    '\\.',
    '(a|b)',
    '(?:ab)',
    '(a*)',
    '$',
    '^',
    '\\b',
    'x{2,3}',
    '[[:alpha:]]',
    '(?i)A',
  );
  const pattern = fc
    .array(fc.tuple(atom, fc.constantFrom('', '', '', '*', '+', '?', '{1,2}')), {
      minLength: 1,
      maxLength: 5,
    })
    .map((parts) => parts.map(([one, times]) => one + times).join(''));
  const text = fc.string({
    unit: fc.constantFrom('a', 'b', 'A', '1', '.', 'x', '\n', 'é', '_'),
    maxLength: 8,
  });
  let compiled = 0;
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 3, maxLength: 3 }), (source, texts) => {
      const own = refusesCleanly(() => compileRegex(source));
      if (own === undefined) return assert.throws(() => RE2JS.compile(source), source);
      compiled++;
      const re = RE2JS.compile(source);
      for (const candidate of texts) {
        assert.equal(
          own.matches(candidate),
          re.matches(candidate),
          `${source} on ${JSON.stringify(candidate)}`,
        );
        assert.equal(
          own.find(candidate),
          re.matcher(candidate).find(),
          `${source} in ${JSON.stringify(candidate)}`,
        );
      }
    }),
    { numRuns: 2500, seed: 9 },
  );
  assert.ok(compiled > 1000, String(compiled));
});

test('patterns that are hard for backtracking end in time', () => {
  const long = 'a'.repeat(20_000);
  for (const source of [
    '(a+)+b',
    '(a|a)*b',
    '(a*)*b',
    '([a-z]+)*1',
    '(.*)(.*)(.*)x',
    'a*a*a*a*b',
    '(a?){50}a{50}b',
  ]) {
    const start = performance.now();
    assert.equal(compileRegex(source).matches(long), false, source);
    assert.ok(performance.now() - start < 5000, source);
  }
});

test('CEL expressions', () => {
  const samples = [
    'response.code >= 400 && request.headers["x-a"] == "b"',
    'request.url_path.matches("^/a.*") || !has(response.grpc_status)',
    'request.path in ["/a", "/b"] ? true : size(request.method) > 3',
    '[1, 2].exists(x, x == response.code) && {"a": 1}["a"] < 2',
  ];
  const connection = new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 80 }, { ip: '10.0.0.2', port: 1 });
  const subject: CelSubject = {
    info: new StreamInfo(connection, 'HTTP/1.1'),
    request: new RequestHeaderMap(['x-a'], ['b']),
    response: undefined,
    trailers: undefined,
  };
  let good = 0;
  each(13, samples, 6000, (text) => {
    const evaluate = refusesCleanly(() => compileCelExpression(text));
    if (evaluate === undefined) return;
    good++;
    assert.ok(['string', 'undefined'].includes(typeof celText(evaluate(subject))));
  });
  assert.ok(good > 100, String(good));
  for (const text of [
    'a'.repeat(20_000),
    '('.repeat(300),
    `[${'1,'.repeat(500)}1]`,
    'request.path.matches("(a|\\\\b")',
  ])
    assert.ok(
      refusesCleanly(() => compileCelExpression(`${text} == 1 == `)) === undefined,
      text.slice(0, 20),
    );
  assert.throws(() => compileCelExpression('request.path.matches(request.method)'), /literal pattern/);
});

test('path templates', () => {
  each(8, ['/a/*/b', '/a/**', '/{x}/{y=*}', '/{x=a/*}/**/c', '/a*'], 8000, (text) => {
    const matches = refusesCleanly(() => compileUriTemplate(text));
    if (matches !== undefined && !/[*{]/.test(text)) assert.equal(matches(text), true, text);
  });
});

test('gRPC-Web text, split anywhere', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.integer({ min: 0, max: 80 }), { maxLength: 4 }),
      (data, cuts) => {
        const encoder = new WebTextEncoder();
        const text = Buffer.concat([encoder.encode(Buffer.from(data)), encoder.finish(Buffer.alloc(0))]);
        const decoder = new WebTextDecoder();
        const parts: Buffer[] = [];
        let last = 0;
        for (const cut of [
          ...cuts.map((at) => Math.min(at, text.length)).toSorted((a, b) => a - b),
          text.length,
        ]) {
          const part = decoder.decode(text.subarray(last, cut));
          assert.ok(part !== undefined);
          parts.push(part);
          last = cut;
        }
        assert.ok(decoder.complete);
        assert.deepEqual(Buffer.concat(parts), Buffer.from(data));
      },
    ),
    runs,
  );
  each(10, ['AAAAAAVoZWxsbw==', 'YQ==YWI=YWJj'], 5000, (text) => {
    const decoder = new WebTextDecoder();
    const found = decoder.decode(Buffer.from(text, 'latin1'));
    if (found !== undefined && decoder.complete && !/=./.test(text))
      assert.deepEqual(Buffer.from(found), Buffer.from(text, 'base64'), text);
  });
});

test('accept-encoding: only what is offered and wanted is chosen', () => {
  const offered = ['gzip', 'br'];
  let chosen = 0;
  each(14, ['gzip;q=0.5, br;q=0.8, *;q=0.1', 'identity, gzip', 'br ; q = 1', 'deflate, *'], 8000, (text) => {
    const { encoding, choice } = negotiate(text, offered, new Set(['br']));
    assert.ok([...offered, 'identity'].includes(encoding));
    if (encoding === 'identity') return;
    chosen++;
    assert.ok(choice === 'header_wildcard' ? text.includes('*') : text.includes(encoding), text);
    assert.ok(!new RegExp(`^\\s*${encoding}\\s*;\\s*q=0(\\.0*)?\\s*$`).test(text), text);
  });
  assert.ok(chosen > 1000, String(chosen));
});

test('iptables-save and masks', () => {
  const saved =
    '*nat\n:PREROUTING ACCEPT [0:0]\n:ISTIO_INBOUND - [0:0]\n[1:2] -A PREROUTING -p tcp -j ISTIO_INBOUND\n-A ISTIO_INBOUND -m comment --comment "a \\"b\\"" -j RETURN\nCOMMIT\n';
  each(11, [saved], 3000, (text) => {
    for (const command of stateCleanupCommands(parseSavedState(text)))
      assert.ok(command[0] === '-t' && ['-D', '-F', '-X'].includes(command[2] ?? ''), command.join(' '));
  });
  each(12, ['a.b,c', 'dynamic_listeners.name'], 2000, (text) => {
    assert.equal(
      parseMask(text)
        .map((path) => path.join('.'))
        .join(','),
      text,
    );
  });
});
