/** `envoy.config.core.v3.Http2ProtocolOptions` as the codec reads it, for both sides. */
import type { Http2ProtocolOptions } from '#api/gen/envoy/config/core/v3/protocol_pb.ts';
import { durationMs } from '../network/duration.ts';
import type { Http2KeepaliveOptions, Http2Options } from './http2/options.ts';
import { defaultHttp2Options } from './http2/options.ts';

/** What an `Http2ProtocolOptions` does not say and its surroundings do. */
export type Http2Surroundings = Pick<
  Http2Options,
  'maxHeadersKb' | 'maxHeadersCount' | 'underscores' | 'highWatermark'
> &
  Partial<Pick<Http2Options, 'drainTimeoutMs' | 'delayedCloseMs'>>;

const minWindow = 65_535;
const maxWindow = 2_147_483_647;

function inRange(name: string, value: number | undefined, low: number, high: number): void {
  if (value !== undefined && (value < low || value > high))
    throw new Error(`http2_protocol_options.${name}: ${value} is not between ${low} and ${high}`);
}

function keepaliveOf(proto: Http2ProtocolOptions): Http2KeepaliveOptions | undefined {
  const settings = proto.connectionKeepalive;
  if (settings === undefined) return undefined;
  const timeoutMs = durationMs(settings.timeout);
  if (timeoutMs === undefined || timeoutMs < 1)
    throw new Error('http2_protocol_options.connection_keepalive.timeout: 1 ms or more is needed');
  return {
    intervalMs: durationMs(settings.interval) ?? 0,
    timeoutMs,
    intervalJitterPercent: settings.intervalJitter?.value ?? 15,
    idleIntervalMs: durationMs(settings.connectionIdleInterval) ?? 0,
  };
}

/**
 * @param proto undefined gives Envoy's defaults.
 * @throws Error that names the field, for values out of range and for what is not there.
 */
export function readHttp2Options(
  proto: Http2ProtocolOptions | undefined,
  surroundings: Http2Surroundings,
): Http2Options {
  const base: Http2Options = { ...defaultHttp2Options, ...surroundings };
  if (proto === undefined) return base;
  inRange('max_concurrent_streams', proto.maxConcurrentStreams, 1, maxWindow);
  inRange('initial_stream_window_size', proto.initialStreamWindowSize, minWindow, maxWindow);
  inRange('initial_connection_window_size', proto.initialConnectionWindowSize, minWindow, maxWindow);
  // There is no bound of a single field below that of the whole head, and nothing is ever sent Huffman-coded.
  inRange('max_header_field_size_kb', proto.maxHeaderFieldSizeKb, 64, 256);
  if (proto.allowMetadata) throw new Error('http2_protocol_options.allow_metadata is not supported');
  if (proto.customSettingsParameters.length > 0)
    throw new Error('http2_protocol_options.custom_settings_parameters are not supported');
  if (proto.disallowObsText === true)
    throw new Error('http2_protocol_options.disallow_obs_text is not supported');
  return {
    ...base,
    hpackTableSize: Math.min(proto.hpackTableSize ?? base.hpackTableSize, 64 * 1024),
    maxConcurrentStreams: proto.maxConcurrentStreams ?? base.maxConcurrentStreams,
    initialStreamWindowSize: proto.initialStreamWindowSize ?? base.initialStreamWindowSize,
    initialConnectionWindowSize: proto.initialConnectionWindowSize ?? base.initialConnectionWindowSize,
    allowConnect: proto.allowConnect,
    streamErrorOnInvalidHttpMessage:
      proto.overrideStreamErrorOnInvalidHttpMessage ?? proto.streamErrorOnInvalidHttpMessaging,
    maxOutboundFrames: proto.maxOutboundFrames ?? base.maxOutboundFrames,
    maxOutboundControlFrames: proto.maxOutboundControlFrames ?? base.maxOutboundControlFrames,
    maxConsecutiveInboundFramesWithEmptyPayload:
      proto.maxConsecutiveInboundFramesWithEmptyPayload ?? base.maxConsecutiveInboundFramesWithEmptyPayload,
    maxInboundPriorityFramesPerStream:
      proto.maxInboundPriorityFramesPerStream ?? base.maxInboundPriorityFramesPerStream,
    maxInboundWindowUpdateFramesPerDataFrameSent:
      proto.maxInboundWindowUpdateFramesPerDataFrameSent ?? base.maxInboundWindowUpdateFramesPerDataFrameSent,
    streamResetBurst: Number(proto.streamResetBurst ?? base.streamResetBurst),
    streamResetRate: Number(proto.streamResetRate ?? base.streamResetRate),
    keepalive: keepaliveOf(proto),
  };
}
