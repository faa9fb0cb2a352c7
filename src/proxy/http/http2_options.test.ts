import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Http2ProtocolOptionsSchema } from '#api/gen/envoy/config/core/v3/protocol_pb.ts';
import { defaultHttp2Options } from './http2/options.ts';
import { readHttp2Options } from './http2_options.ts';

const around = { maxHeadersKb: 60, maxHeadersCount: 100, underscores: 'allow', highWatermark: 1024 } as const;

function read(init: MessageInitShape<typeof Http2ProtocolOptionsSchema>) {
  return readHttp2Options(create(Http2ProtocolOptionsSchema, init), around);
}

test('what is absent has its default', () => {
  assert.deepEqual(readHttp2Options(undefined, around), { ...defaultHttp2Options, highWatermark: 1024 });
  assert.deepEqual(read({}), { ...defaultHttp2Options, highWatermark: 1024 });
});

test('fields', () => {
  const options = read({
    hpackTableSize: 1 << 20,
    maxConcurrentStreams: 7,
    initialStreamWindowSize: 65_535,
    allowConnect: true,
    streamErrorOnInvalidHttpMessaging: true,
    overrideStreamErrorOnInvalidHttpMessage: false,
    connectionKeepalive: { interval: { seconds: 30n, nanos: 0 }, timeout: { seconds: 5n, nanos: 0 } },
  });
  assert.equal(options.hpackTableSize, 65_536);
  assert.equal(options.maxConcurrentStreams, 7);
  assert.equal(options.initialStreamWindowSize, 65_535);
  assert.equal(options.allowConnect, true);
  assert.equal(options.streamErrorOnInvalidHttpMessage, false);
  assert.deepEqual(options.keepalive, {
    intervalMs: 30_000,
    timeoutMs: 5000,
    intervalJitterPercent: 15,
    idleIntervalMs: 0,
  });
});

test('what is out of range or not there is refused by name', () => {
  for (const [init, expected] of [
    [{ maxConcurrentStreams: 0 }, /max_concurrent_streams: 0 is not between/],
    [{ initialStreamWindowSize: 1000 }, /initial_stream_window_size: 1000/],
    [{ initialConnectionWindowSize: 3_000_000_000 }, /initial_connection_window_size/],
    [{ allowMetadata: true }, /allow_metadata is not supported/],
    [{ customSettingsParameters: [{ identifier: 1, value: 2 }] }, /custom_settings_parameters/],
    [{ disallowObsText: true }, /disallow_obs_text/],
    [{ connectionKeepalive: {} }, /connection_keepalive\.timeout/],
  ] as const)
    assert.throws(() => read(init as never), expected);
});
