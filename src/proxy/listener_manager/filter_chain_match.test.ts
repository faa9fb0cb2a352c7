import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { FilterChainMatchSchema } from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import type { ConnectionInfo } from '../network/connection.ts';
import { AcceptedConnectionInfo } from '../network/connection_info.ts';
import { FilterChainMatcher } from './filter_chain_match.ts';

type Match = Parameters<typeof create<typeof FilterChainMatchSchema>>[1];

function matcher(chains: Record<string, Match>, fallback?: string): FilterChainMatcher<string> {
  const built = new FilterChainMatcher<string>();
  for (const [name, match] of Object.entries(chains))
    built.add(create(FilterChainMatchSchema, match as object), name, (chain) => chain);
  built.setDefault(fallback);
  return built;
}

function connection(
  local: string,
  remote = '10.9.9.9:5000',
  more: Partial<ConnectionInfo> = {},
): ConnectionInfo {
  const address = (text: string) => {
    const colon = text.lastIndexOf(':');
    return text.startsWith('/')
      ? { ip: text, port: -1 }
      : { ip: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
  };
  return Object.assign(new AcceptedConnectionInfo(address(local), address(remote)), more);
}

const range = (prefix: string, bits: number) => ({ addressPrefix: prefix, prefixLen: bits });

test('destination port first, without a way back to chains for any port', () => {
  const found = matcher(
    { p80: { destinationPort: 80, prefixRanges: [range('10.0.0.0', 8)] }, any: {} },
    'default',
  );
  assert.equal(found.find(connection('10.1.1.1:80')), 'p80');
  assert.equal(found.find(connection('11.1.1.1:80')), 'default');
  assert.equal(found.find(connection('10.1.1.1:81')), 'any');
  assert.equal(found.find(connection('/run/x.sock', '/peer')), 'any');
});

test('longest prefix wins, and only it is looked at', () => {
  const found = matcher({
    wide: { prefixRanges: [range('10.0.0.0', 8)] },
    narrow: { prefixRanges: [range('10.1.0.0', 16)], transportProtocol: 'tls' },
    six: { prefixRanges: [range('fd00::', 8)] },
  });
  assert.equal(found.find(connection('10.2.0.1:1')), 'wide');
  assert.equal(found.find(connection('10.1.0.1:1', '1.1.1.1:1', { transportProtocol: 'tls' })), 'narrow');
  assert.equal(found.find(connection('10.1.0.1:1')), undefined);
  assert.equal(found.find(connection('fd00::1:1')), 'six');
});

test('server names: exact, then the longest wildcard, then any', () => {
  const found = matcher({
    exact: { serverNames: ['a.example.com'] },
    sub: { serverNames: ['*.b.example.com'] },
    wild: { serverNames: ['*.example.com'] },
    any: {},
  });
  const sni = (name: string) =>
    found.find(connection('1.1.1.1:443', undefined, { requestedServerName: name }));
  assert.equal(sni('a.example.com'), 'exact');
  assert.equal(sni('x.b.example.com'), 'sub');
  assert.equal(sni('b.example.com'), 'wild');
  assert.equal(sni('x.y.example.com'), 'wild');
  assert.equal(sni('example.com'), 'any');
  assert.equal(sni(''), 'any');
  assert.throws(() => matcher({ bad: { serverNames: ['w*.example.com'] } }), /partial wildcards/);
});

test("Istio's inbound chains: mTLS with ALPN, mTLS, plain TLS and plain text on one port", () => {
  const found = matcher({
    mtlsHttp: {
      destinationPort: 80,
      transportProtocol: 'tls',
      applicationProtocols: ['istio-http/1.1', 'istio-h2'],
    },
    plainHttp: {
      destinationPort: 80,
      transportProtocol: 'raw_buffer',
      applicationProtocols: ['http/1.1', 'h2c'],
    },
    mtls: {
      destinationPort: 80,
      transportProtocol: 'tls',
      applicationProtocols: ['istio', 'istio-peer-exchange'],
    },
    tls: { destinationPort: 80, transportProtocol: 'tls' },
    plain: { destinationPort: 80, transportProtocol: 'raw_buffer' },
  });
  const find = (transportProtocol: 'tls' | 'raw_buffer', ...applicationProtocols: string[]) =>
    found.find(connection('10.0.0.1:80', undefined, { transportProtocol, applicationProtocols }));
  assert.equal(find('tls', 'istio-peer-exchange', 'istio-http/1.1'), 'mtls');
  assert.equal(find('tls', 'istio-h2', 'istio'), 'mtlsHttp');
  assert.equal(find('tls', 'h2'), 'tls');
  assert.equal(find('raw_buffer', 'http/1.1'), 'plainHttp');
  assert.equal(find('raw_buffer'), 'plain');
});

test('source type, ranges and ports', () => {
  const found = matcher({
    local: { sourceType: 1 },
    external: { sourceType: 2, sourcePrefixRanges: [range('20.0.0.0', 8)] },
    port: { sourcePorts: [7000], sourcePrefixRanges: [range('30.0.0.0', 8)] },
    direct: { directSourcePrefixRanges: [range('40.0.0.0', 8)] },
  });
  assert.equal(found.find(connection('10.0.0.1:1', '127.0.0.1:9')), 'local');
  assert.equal(found.find(connection('10.0.0.1:1', '10.0.0.1:9')), 'local');
  assert.equal(found.find(connection('10.0.0.1:1', '20.0.0.1:9')), 'external');
  // The external type is taken and has no range for this source.
  assert.equal(found.find(connection('10.0.0.1:1', '30.0.0.1:7000')), undefined);
  assert.equal(found.find(connection('10.0.0.1:1', '40.0.0.1:9')), 'direct');
});

test('equal rules are refused', () => {
  assert.throws(
    () => matcher({ a: { serverNames: ['x.com', 'y.com'] }, b: { serverNames: ['y.com'] } }),
    /filter chain 'b' has the same matching rules defined as 'a'/,
  );
});
