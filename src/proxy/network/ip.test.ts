import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cidrContains, createCidr, formatIp, isLoopback, parseIp } from './ip.ts';

test('addresses survive parsing and formatting', () => {
  for (const text of [
    '0.0.0.0',
    '10.1.2.3',
    '255.255.255.255',
    '::',
    '::1',
    'fe80::1',
    '2001:db8::1:0:0:1',
    '1:2:3:4:5:6:7:8',
    '1::8',
  ])
    assert.equal(formatIp(parseIp(text)!), text);
  assert.equal(formatIp(parseIp('::ffff:10.0.0.1')!), '10.0.0.1');
  assert.equal(formatIp(parseIp('64:ff9b::1.2.3.4')!), '64:ff9b::102:304');
  assert.equal(formatIp(parseIp('fe80::1%eth0')!), 'fe80::1');
  for (const text of ['', '1.2.3', '1.2.3.256', '1::2::3', 'g::', '01.2.3.4'])
    assert.equal(parseIp(text), undefined);
});

test('ranges', () => {
  const cases: [string, number, string, boolean][] = [
    ['10.0.0.0', 8, '10.255.0.1', true],
    ['10.0.0.0', 8, '11.0.0.1', false],
    ['10.1.2.3', 32, '10.1.2.3', true],
    ['10.1.2.3', 99, '10.1.2.2', false],
    ['10.1.2.128', 25, '10.1.2.127', false],
    ['10.1.2.200', 25, '10.1.2.129', true],
    ['0.0.0.0', 0, '1.2.3.4', true],
    ['0.0.0.0', 0, '::1', false],
    ['2001:db8::', 33, '2001:db8:7fff::1', true],
    ['2001:db8::', 33, '2001:db8:8000::1', false],
    ['::ffff:10.0.0.0', 104, '10.9.9.9', true],
  ];
  for (const [prefix, bits, ip, expected] of cases)
    assert.equal(cidrContains(createCidr(prefix, bits), parseIp(ip)!), expected, `${prefix}/${bits} ${ip}`);
  assert.throws(() => createCidr('x', 8), /not an IP address/);
  assert.deepEqual(
    ['127.9.9.9', '::1', '::2', '10.0.0.1', '::ffff:127.0.0.1'].map((ip) => isLoopback(parseIp(ip)!)),
    [true, true, false, false, true],
  );
});
