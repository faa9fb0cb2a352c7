/** `x-forwarded-client-cert` (HttpConnectionManager.forward_client_cert_details). */
import { createHash } from 'node:crypto';
import type { HttpConnectionManager_SetCurrentClientCertDetails as Details } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import type { TlsInfo } from '../../../network/connection.ts';

export type ForwardClientCert =
  | 'sanitize'
  | 'forward_only'
  | 'append_forward'
  | 'sanitize_set'
  | 'always_forward_only';

export interface ClientCertOptions {
  readonly mode: ForwardClientCert;
  readonly subject: boolean;
  readonly cert: boolean;
  readonly uri: boolean;
  readonly dns: boolean;
}

const name = 'x-forwarded-client-cert';

export function clientCertOptions(mode: ForwardClientCert, details: Details | undefined): ClientCertOptions {
  return {
    mode,
    subject: details?.subject ?? false,
    cert: details?.cert ?? false,
    uri: details?.uri ?? false,
    dns: details?.dns ?? false,
  };
}

function urlEncodedPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return encodeURIComponent(`-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`);
}

/** The element for one connection; made once per connection. */
export function clientCertElement(tls: TlsInfo, options: ClientCertOptions): string {
  const parts = tls.localUriSans.map((uri) => `By=${uri}`);
  if (tls.peerCertificateDer !== undefined)
    parts.push(`Hash=${createHash('sha256').update(tls.peerCertificateDer).digest('hex')}`);
  if (options.cert && tls.peerCertificateDer !== undefined)
    parts.push(`Cert="${urlEncodedPem(tls.peerCertificateDer)}"`);
  // Subject and URI stand there even when they are empty.
  if (options.subject) parts.push(`Subject="${tls.peerSubject.replace(/(["\\])/g, '\\$1')}"`);
  if (options.uri) {
    if (tls.peerUriSans.length === 0) parts.push('URI=');
    for (const uri of tls.peerUriSans) parts.push(`URI=${uri}`);
  }
  if (options.dns) for (const dns of tls.peerDnsSans) parts.push(`DNS=${dns}`);
  return parts.join(';');
}

/** @param element from `clientCertElement`, undefined when the client showed no certificate. */
export function forwardClientCert(
  headers: RequestHeaderMap,
  mode: ForwardClientCert,
  element: string | undefined,
): void {
  if (mode === 'always_forward_only') return;
  const present = (headers.seen & HeaderFlag.forwardedClientCert) !== 0;
  if (mode === 'sanitize' || element === undefined) {
    if (present) headers.remove(name);
    return;
  }
  if (mode === 'forward_only') return;
  const old = mode === 'append_forward' && present ? headers.get(name) : undefined;
  if (present) headers.set(name, old === undefined ? element : `${old},${element}`);
  else headers.addFlagged(name, element, HeaderFlag.forwardedClientCert);
}
