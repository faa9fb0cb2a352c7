import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { ProxyProtocolSchema } from '#api/gen/envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol_pb.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { ListenerFilterStatus } from '../../../network/listener_filter.ts';
import { encodeBinaryHeader, encodeTextHeader, parseProxyHeader } from '../../../network/proxy_header.ts';
import { proxyProtocol } from './proxy_protocol.ts';

const signature = '0d0a0d0a000d0a515549540a';
const v2 = (rest: string): Buffer => Buffer.from(signature + rest, 'hex');
const four = v2('2111000c0102030405060708270f0050');
const six = v2(`21210024${'20010db8'.padEnd(32, '0')}${'1'.padStart(32, '0')}270f0050`);

test('text headers', () => {
  const parse = (text: string) => parseProxyHeader(Buffer.from(text));
  assert.deepEqual(parse('PROXY TCP4 1.2.3.4 5.6.7.8 9999 80\r\nGET'), {
    kind: 'header',
    length: 36,
    source: { ip: '1.2.3.4', port: 9999 },
    destination: { ip: '5.6.7.8', port: 80 },
    tlvs: [],
  });
  assert.equal(parse('PROXY TCP6 2001:db8::1 ::1 1 2\r\n').kind, 'header');
  assert.deepEqual(parse('PROXY UNKNOWN\r\n'), {
    kind: 'header',
    length: 15,
    source: undefined,
    destination: undefined,
    tlvs: [],
  });
  for (const text of [
    'PROXY TCP4 1.2.3.4 5.6.7.8 9999 70000\r\n',
    'PROXY TCP4 ::1 5.6.7.8 1 1\r\n',
    'PROXY TCP4 1.2.3.4 5.6.7.8 01 1\r\n',
    'PROXY UDP4 1.2.3.4 5.6.7.8 1 1\r\n',
    `PROXY TCP4 ${'1'.repeat(120)}`,
  ])
    assert.equal(parse(text).kind, 'bad', text);
  assert.equal(parse('GET / HTTP/1.1').kind, 'none');
});

test('binary headers', () => {
  assert.deepEqual(parseProxyHeader(four), {
    kind: 'header',
    length: 28,
    source: { ip: '1.2.3.4', port: 9999 },
    destination: { ip: '5.6.7.8', port: 80 },
    tlvs: [],
  });
  assert.deepEqual(parseProxyHeader(six), {
    kind: 'header',
    length: 52,
    source: { ip: '2001:db8::', port: 9999 },
    destination: { ip: '::1', port: 80 },
    tlvs: [],
  });
  assert.equal(parseProxyHeader(v2('20000000')).kind, 'header');
  for (const rest of ['3111000c', '2211000c', '21120000', '2111ffff', '21110004'])
    assert.equal(parseProxyHeader(Buffer.concat([v2(rest), Buffer.alloc(100)])).kind, 'bad', rest);
});

test('every prefix waits', () => {
  const text = Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 9999 80\r\n');
  for (const whole of [text, four, six])
    for (let length = 0; length < whole.length; length++)
      assert.equal(parseProxyHeader(whole.subarray(0, length)).kind, 'more', `${length}`);
});

test('the filter sets addresses, takes the header out and refuses what it must', () => {
  const make = (config: object = {}) => {
    const value = toBinary(ProxyProtocolSchema, create(ProxyProtocolSchema, config));
    return proxyProtocol.create({ typeUrl: '', value }).createFilter();
  };
  const info = () => new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 80 }, { ip: '10.0.0.2', port: 5 });
  const taken = info();
  const filter = make();
  assert.equal(filter.onData?.(four, false, taken), ListenerFilterStatus.continue);
  assert.equal(filter.consumed, 28);
  assert.deepEqual(
    [taken.remoteAddress.ip, taken.localAddress.port, taken.directRemoteAddress.ip],
    ['1.2.3.4', 80, '10.0.0.2'],
  );
  const http = Buffer.from('GET / HTTP/1.1');
  assert.equal(make().onData?.(http, false, info()), ListenerFilterStatus.close);
  assert.equal(
    make({ allowRequestsWithoutProxyProtocol: true }).onData?.(http, false, info()),
    ListenerFilterStatus.continue,
  );
  assert.equal(make({ disallowedVersions: [1] }).onData?.(four, false, info()), ListenerFilterStatus.close);
});

test('TLVs: kept as metadata and for upstreams, as the configuration says', () => {
  const tlv = (type: number, text: string): Buffer => {
    const value = Buffer.from(text);
    return Buffer.concat([Buffer.of(type, value.length >> 8, value.length & 0xff), value]);
  };
  const tlvs = Buffer.concat([tlv(0x02, 'host'), tlv(0xe0, 'a\xffb'), tlv(0xe1, 'x')]);
  const head = Buffer.from(four);
  head.writeUInt16BE(12 + tlvs.length, 14);
  const data = Buffer.concat([head, tlvs]);
  const rule = (tlvType: number, key: string, valueStringEncoding = 0) => ({
    tlvType,
    onTlvPresent: { key, valueStringEncoding },
  });
  const value = toBinary(
    ProxyProtocolSchema,
    create(ProxyProtocolSchema, {
      rules: [rule(0x02, 'authority'), rule(0xe1, 'coded', 2), rule(0xee, 'absent')],
      passThroughTlvs: { matchType: 1, tlvType: [0xe0] },
    } as never),
  );
  const filter = proxyProtocol.create({ typeUrl: '', value }).createFilter();
  const info = new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 1 }, { ip: '10.0.0.2', port: 2 });
  assert.equal(filter.onData?.(data, false, info), ListenerFilterStatus.continue);
  assert.equal(filter.consumed, data.length);
  assert.deepEqual(info.dynamicMetadata?.get('envoy.filters.listener.proxy_protocol'), {
    authority: 'host',
    coded: Buffer.from('x').toString('base64'),
  });
  assert.deepEqual(
    info.proxyProtocol?.tlvs.map(({ type }) => type),
    [0xe0],
  );
  assert.deepEqual(info.proxyProtocol?.source, { ip: '1.2.3.4', port: 9999 });
  head.writeUInt16BE(12 + tlvs.length - 1, 14);
  assert.equal(parseProxyHeader(Buffer.concat([head, tlvs])).kind, 'bad');
});

test('headers to upstreams read back as they were written', () => {
  const source = { ip: '2001:db8::1', port: 9999 };
  const destination = { ip: '::1', port: 80 };
  const tlvs = [{ type: 5, value: Buffer.from('id') }];
  const binary = parseProxyHeader(encodeBinaryHeader({ source, destination, tlvs }));
  assert.deepEqual(binary, { kind: 'header', length: 57, source, destination, tlvs });
  const plain = { source: { ip: '1.2.3.4', port: 9999 }, destination: { ip: '5.6.7.8', port: 80 }, tlvs: [] };
  assert.deepEqual(encodeBinaryHeader(plain), four);
  assert.equal(encodeTextHeader(source, destination).toString(), 'PROXY TCP6 2001:db8::1 ::1 9999 80\r\n');
  assert.equal(encodeTextHeader(source, { ip: '/a.sock', port: -1 }).toString(), 'PROXY UNKNOWN\r\n');
  assert.equal(encodeTextHeader(source, { ip: '1.2.3.4', port: 1 }).toString(), 'PROXY UNKNOWN\r\n');
  const local = parseProxyHeader(encodeBinaryHeader(undefined));
  assert.deepEqual([local.kind, local.kind === 'header' && local.source], ['header', undefined]);
});
