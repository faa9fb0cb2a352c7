/** envoy.extensions.transport_sockets.tls.v3.TlsParameters as options of node:tls. */
import type { SecureContextOptions, SecureVersion } from 'node:tls';
import {
  type TlsParameters,
  TlsParameters_TlsProtocol as TlsProtocol,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts';
import { refuseFields } from '../../network/refused_fields.ts';

/** AES-128 first: the fastest where the processor has AES instructions. TLS 1.3 suites are not configurable in Envoy. */
const tls13Suites = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** Envoy's defaults for TLS 1.2. */
const defaultTls12Suites =
  'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:' +
  'ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384';

const versions = new Map<number, SecureVersion>([
  [TlsProtocol.TLSv1_0, 'TLSv1'],
  [TlsProtocol.TLSv1_1, 'TLSv1.1'],
  [TlsProtocol.TLSv1_2, 'TLSv1.2'],
  [TlsProtocol.TLSv1_3, 'TLSv1.3'],
]);

/** Groups of equal preference (`[A|B]`) are written one after the other: OpenSSL has no such groups. */
function flatten(suites: readonly string[]): string {
  return suites.flatMap((suite) => suite.replace(/^\[|\]$/g, '').split('|')).join(':');
}

/**
 * Defaults: TLS 1.2 to 1.3 on both sides, X25519 and P-256. Without a list OpenSSL would also offer a post-quantum group
 * whose key alone costs as much as the rest of the handshake.
 */
export function tlsOptions(params: TlsParameters | undefined): SecureContextOptions {
  refuseFields(params, 'tls_params.');
  const suites = params?.cipherSuites ?? [];
  const curves = params?.ecdhCurves ?? [];
  const algorithms = params?.signatureAlgorithms ?? [];
  return {
    minVersion: versions.get(params?.tlsMinimumProtocolVersion ?? 0) ?? 'TLSv1.2',
    maxVersion: versions.get(params?.tlsMaximumProtocolVersion ?? 0) ?? 'TLSv1.3',
    ciphers: `${tls13Suites}:${suites.length === 0 ? defaultTls12Suites : flatten(suites)}`,
    ecdhCurve: curves.length === 0 ? 'X25519:P-256' : curves.join(':'),
    ...(algorithms.length === 0 ? {} : { sigalgs: algorithms.join(':') }),
  };
}
