import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PcapReader, tcpSegment } from './pcap.ts';
import { createMarkerSearch } from './plaintext_probe.ts';

/** An Ethernet frame with IPv4 and TCP. */
function frame(payload: string, sourcePort = 1000, protocol = 6): Buffer {
  const tcp = Buffer.alloc(20);
  tcp.writeUInt16BE(sourcePort, 0);
  tcp.writeUInt16BE(80, 2);
  tcp[12] = 5 << 4;
  const body = Buffer.concat([tcp, Buffer.from(payload)]);
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(20 + body.length, 2);
  ip[9] = protocol;
  ip.set([10, 0, 0, 1], 12);
  ip.set([10, 0, 0, 2], 16);
  const ethernet = Buffer.alloc(14);
  ethernet.writeUInt16BE(0x0800, 12);
  // Short frames are padded; the padding is no payload.
  return Buffer.concat([ethernet, ip, body, Buffer.alloc(8)]);
}

function capture(frames: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  const records = frames.flatMap((packet) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    return [record, packet];
  });
  return Buffer.concat([header, ...records]);
}

test('a capture is read in any pieces', () => {
  const frames = [frame('one'), frame('two'), frame('three')];
  const data = capture(frames);
  for (const size of [1, 7, 100, data.length]) {
    const reader = new PcapReader();
    const read: Buffer[] = [];
    for (let at = 0; at < data.length; at += size) read.push(...reader.read(data.subarray(at, at + size)));
    assert.deepEqual(read, frames, `pieces of ${size}`);
  }
});

test('what is no capture is refused', () => {
  assert.throws(() => new PcapReader().read(Buffer.alloc(24)), RangeError);
  const huge = capture([frame('x')]);
  huge.writeUInt32LE(0x7fffffff, 24 + 8);
  assert.throws(() => new PcapReader().read(huge), RangeError);
});

test('payload of TCP segments', () => {
  assert.deepEqual(tcpSegment(frame('hello')), {
    flow: '10.0.0.1:1000>10.0.0.2:80',
    payload: Buffer.from('hello'),
  });
  assert.equal(tcpSegment(frame('')), undefined);
  assert.equal(tcpSegment(frame('hello', 1000, 17)), undefined);
  assert.equal(tcpSegment(Buffer.alloc(20)), undefined);
});

test('markers are found across segments of one flow only', () => {
  const search = createMarkerSearch(['secret', 'other']);
  search.add(frame('a sec', 1));
  search.add(frame('ret', 2));
  assert.deepEqual(search.report(), { segments: 2, seen: [] });
  search.add(frame('re', 1));
  search.add(frame('t', 1));
  assert.deepEqual(search.report(), {
    segments: 4,
    seen: [{ marker: 'secret', flow: '10.0.0.1:1>10.0.0.2:80' }],
  });
});
