/** What a refused HTTP/1 message is answered with: status, Envoy's response code details. */
import { HeadError } from './head_parser.ts';

export interface ProtocolError {
  readonly status: number;
  /** `%RESPONSE_CODE_DETAILS%`. */
  readonly details: string;
}

const codec: ProtocolError = { status: 400, details: 'http1.codec_error' };

/** By HeadError. */
const errors: Readonly<Record<number, ProtocolError>> = {
  [HeadError.badStartLine]: codec,
  [HeadError.unknownMethod]: codec,
  [HeadError.badTarget]: { status: 400, details: 'http1.invalid_url' },
  [HeadError.unsupportedVersion]: codec,
  [HeadError.badHeaderName]: codec,
  [HeadError.badHeaderValue]: { status: 400, details: 'http1.invalid_characters' },
  [HeadError.foldedHeader]: codec,
  [HeadError.badContentLength]: codec,
  [HeadError.repeatedContentLength]: codec,
  [HeadError.lengthAndChunked]: {
    status: 400,
    details: 'http1.content_length_and_chunked_not_allowed',
  },
  [HeadError.unknownTransferEncoding]: { status: 501, details: 'http1.invalid_transfer_encoding' },
  [HeadError.repeatedHost]: codec,
  [HeadError.tooManyHeaders]: { status: 431, details: 'http1.too_many_headers' },
  [HeadError.headTooLarge]: { status: 431, details: 'http1.headers_too_large' },
  [HeadError.underscoreHeader]: { status: 400, details: 'http1.unexpected_underscore' },
  [HeadError.bareLineFeed]: codec,
  [HeadError.badChunkSize]: codec,
  [HeadError.badTrailer]: codec,
  [HeadError.badConnectionHeader]: { status: 400, details: 'http1.connection_header_rejected' },
};

export function protocolError(error: HeadError): ProtocolError {
  return errors[error] ?? codec;
}
