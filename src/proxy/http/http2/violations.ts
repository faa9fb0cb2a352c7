/** Every way in which a peer can break HTTP/2, with the code it is told and Envoy's response code details. */
import { ErrorCode, type Violation } from './error_codes.ts';

function violation(code: ErrorCode, details: string): Violation {
  return { code, details };
}

const protocol = 'http2.protocol_error';

export const violations = {
  badPreface: violation(ErrorCode.protocolError, 'http2.bad_client_preface'),
  frameSize: violation(ErrorCode.frameSizeError, 'http2.frame_size_error'),
  /** A frame on a stream, or on stream 0, where it must not be. */
  wrongStream: violation(ErrorCode.protocolError, protocol),
  padding: violation(ErrorCode.protocolError, protocol),
  streamId: violation(ErrorCode.protocolError, protocol),
  unexpectedFrame: violation(ErrorCode.protocolError, protocol),
  continuationExpected: violation(ErrorCode.protocolError, protocol),
  push: violation(ErrorCode.protocolError, protocol),
  selfDependency: violation(ErrorCode.protocolError, protocol),
  settingsValue: violation(ErrorCode.protocolError, 'http2.invalid_setting'),
  settingsWindow: violation(ErrorCode.flowControlError, 'http2.invalid_setting'),
  zeroIncrement: violation(ErrorCode.protocolError, protocol),
  windowOverflow: violation(ErrorCode.flowControlError, 'http2.flow_control_error'),
  windowExceeded: violation(ErrorCode.flowControlError, 'http2.flow_control_error'),
  streamClosed: violation(ErrorCode.streamClosed, 'http2.stream_closed'),
  compression: violation(ErrorCode.compressionError, 'http2.compression_error'),
  refused: violation(ErrorCode.refusedStream, 'http2.max_concurrent_streams'),

  /** A name or value that may not stand in a header list. */
  headerField: violation(ErrorCode.protocolError, 'http2.invalid.header.field'),
  /** Pseudo headers, content-length or message order. */
  messaging: violation(ErrorCode.protocolError, 'http2.violation.of.messaging.rule'),
  underscore: violation(ErrorCode.protocolError, 'http2.unexpected_underscore'),
  tooManyHeaders: violation(ErrorCode.internalError, 'http2.too_many_headers'),
  headersTooLarge: violation(ErrorCode.internalError, 'http2.header_list_size_too_large'),
  /** So much that it is not even decoded: ends the connection. */
  blockTooLarge: violation(ErrorCode.enhanceYourCalm, 'http2.header_list_size_too_large'),

  continuationFlood: violation(ErrorCode.enhanceYourCalm, 'http2.continuation_flood'),
  emptyFrames: violation(ErrorCode.enhanceYourCalm, 'http2.inbound_empty_frames_flood'),
  priorityFlood: violation(ErrorCode.enhanceYourCalm, 'http2.inbound_priority_frames_flood'),
  windowUpdateFlood: violation(ErrorCode.enhanceYourCalm, 'http2.inbound_window_update_frames_flood'),
  outboundControl: violation(ErrorCode.enhanceYourCalm, 'http2.outbound_control_frames_flood'),
  outboundFrames: violation(ErrorCode.enhanceYourCalm, 'http2.outbound_frames_flood'),
  rapidReset: violation(ErrorCode.enhanceYourCalm, 'http2.premature_resets'),
  resetRate: violation(ErrorCode.enhanceYourCalm, 'http2.stream_reset_rate'),
} as const satisfies Readonly<Record<string, Violation>>;
