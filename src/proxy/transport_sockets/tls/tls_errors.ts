/**
 * TLS failures as Envoy 1.40 prints them (`%UPSTREAM_TRANSPORT_FAILURE_REASON%` and its downstream twin):
 * `TLS_error:|CODE:SSL routines:OPENSSL_internal:REASON:TLS_error_end`, CODE being BoringSSL's packed number.
 */

/** BoringSSL's library number 16 (SSL), shifted as ERR_PACK does. */
const sslLibrary = 16 << 24;

/** Reasons of BoringSSL's ssl.h that a peer can bring about. Alerts are 1000 plus the alert's number (RFC 8446, 6). */
const reasons: Readonly<Record<string, number>> = {
  BAD_PACKET_LENGTH: 107,
  BAD_SIGNATURE: 111,
  CERTIFICATE_VERIFY_FAILED: 125,
  DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 137,
  DIGEST_CHECK_FAILED: 141,
  HTTP_REQUEST: 156,
  HTTPS_PROXY_REQUEST: 155,
  NO_SHARED_CIPHER: 184,
  PEER_DID_NOT_RETURN_A_CERTIFICATE: 192,
  UNEXPECTED_MESSAGE: 225,
  UNSUPPORTED_PROTOCOL: 240,
  WRONG_VERSION_NUMBER: 247,
  NO_APPLICATION_PROTOCOL: 307,
  SSLV3_ALERT_CLOSE_NOTIFY: 1000,
  SSLV3_ALERT_UNEXPECTED_MESSAGE: 1010,
  SSLV3_ALERT_BAD_RECORD_MAC: 1020,
  SSLV3_ALERT_HANDSHAKE_FAILURE: 1040,
  SSLV3_ALERT_BAD_CERTIFICATE: 1042,
  SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: 1043,
  SSLV3_ALERT_CERTIFICATE_REVOKED: 1044,
  SSLV3_ALERT_CERTIFICATE_EXPIRED: 1045,
  SSLV3_ALERT_CERTIFICATE_UNKNOWN: 1046,
  SSLV3_ALERT_ILLEGAL_PARAMETER: 1047,
  TLSV1_ALERT_UNKNOWN_CA: 1048,
  TLSV1_ALERT_ACCESS_DENIED: 1049,
  TLSV1_ALERT_DECODE_ERROR: 1050,
  TLSV1_ALERT_DECRYPT_ERROR: 1051,
  TLSV1_ALERT_PROTOCOL_VERSION: 1070,
  TLSV1_ALERT_INSUFFICIENT_SECURITY: 1071,
  TLSV1_ALERT_INTERNAL_ERROR: 1080,
  TLSV1_ALERT_UNRECOGNIZED_NAME: 1112,
  TLSV1_ALERT_CERTIFICATE_REQUIRED: 1116,
  TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 1120,
};

function format(reason: string, data: string): string {
  const number = reasons[reason];
  const code = number === undefined ? 0 : sslLibrary + number;
  return `TLS_error:|${code}:SSL routines:OPENSSL_internal:${reason}${data === '' ? '' : `:${data}`}:TLS_error_end`;
}

/** Other spellings of OpenSSL for what BoringSSL calls by an older name. */
function boringName(reason: string): string {
  const alert = /^(?:SSLV3|SSL\/TLS|TLSV1|TLSV13)_ALERT_(.*)$/.exec(reason)?.[1];
  if (alert === undefined) return reason;
  const older = `SSLV3_ALERT_${alert}`;
  return older in reasons ? older : `TLSV1_ALERT_${alert}`;
}

/** Text of an error of a handshake; empty for errors of the socket below (the peer just left). */
export function describeTlsError(error: NodeJS.ErrnoException | undefined): string {
  const code = error?.code ?? '';
  if (code.startsWith('ERR_SSL_')) return format(boringName(code.slice('ERR_SSL_'.length)), '');
  return '';
}

/** Depth of the certificate that a verdict of OpenSSL is about, where the code tells it. */
function depthOf(code: string): number {
  return code === 'SELF_SIGNED_CERT_IN_CHAIN' || code.startsWith('UNABLE_TO_GET_ISSUER_CERT') ? 1 : 0;
}

const verdicts: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: 'self signed certificate in certificate chain',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'self signed certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unable to verify the first certificate',
};

/** A chain that OpenSSL did not accept. */
export function describeChainProblem(problem: { readonly code: string; readonly text: string }): string {
  const text = verdicts[problem.code] ?? problem.text;
  return describeVerifyFailure(
    `X509_verify_cert: certificate verification error at depth ${depthOf(problem.code)}: ${text}`,
  );
}

/** A certificate that our own checks refused. */
export function describeVerifyFailure(reason: string): string {
  return format('CERTIFICATE_VERIFY_FAILED', `verify cert failed: ${reason}`);
}

/** The client showed no certificate where one is required. */
export const peerCertificateMissing: string = format('PEER_DID_NOT_RETURN_A_CERTIFICATE', '');
