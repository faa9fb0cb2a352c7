/** TLS of listening sockets: used by Gateway and by the inbound listeners of Sidecar. */
import type { Checker } from '../../schema/checker.ts';
import { type Schema, boolean, list, object, oneOf, string } from '../../schema/schema.ts';
import type { ServerTLSSettings, TLSCertificate, TLSProtocol } from './types.ts';

/** Suites that Envoy's TLS library knows; others are left out with a warning. */
const cipherSuites: ReadonlySet<string> = new Set([
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-SHA',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-ECDSA-AES256-SHA',
  'ECDHE-RSA-AES256-SHA',
  'AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
  'AES128-SHA',
  'AES256-SHA',
  'DES-CBC3-SHA',
  'ECDHE-RSA-AES128-SHA256',
  'ECDHE-ECDSA-AES128-SHA256',
]);

const versions: readonly TLSProtocol[] = ['TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3'];
const version = oneOf('TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3');
const file = string({ expected: 'the path of a file' });

/** `ServerTLSSettings`. */
export const serverTls: Schema<ServerTLSSettings> = object<ServerTLSSettings>(
  {
    httpsRedirect: boolean,
    mode: oneOf('PASSTHROUGH', 'SIMPLE', 'MUTUAL', 'AUTO_PASSTHROUGH', 'ISTIO_MUTUAL', 'OPTIONAL_MUTUAL'),
    serverCertificate: file,
    privateKey: file,
    caCertificates: file,
    caCrl: file,
    credentialName: string(),
    credentialNames: list(string({ minLength: 1 }), { min: 1, max: 2 }),
    caCertCredentialName: string(),
    tlsCertificates: list(
      object<TLSCertificate>({ serverCertificate: file, privateKey: file, caCertificates: file }),
      { min: 1, max: 2 },
    ),
    subjectAltNames: list(string()),
    verifyCertificateSpki: list(string()),
    verifyCertificateHash: list(string()),
    minProtocolVersion: version,
    maxProtocolVersion: version,
    cipherSuites: list(string()),
    insecureSkipVerify: boolean,
  },
  {
    atMostOneOf: [
      ['credentialName', 'credentialNames'],
      ['credentialNames', 'tlsCertificates'],
      ['credentialName', 'tlsCertificates'],
    ],
    rule: checkServerTls,
  },
);

function isSet(text: string | undefined): boolean {
  return text !== undefined && text !== '';
}

function checkServerTls(tls: ServerTLSSettings, at: Checker): void {
  const mode = tls.mode ?? 'PASSTHROUGH';
  checkVersions(tls, at);
  for (const [index, suite] of (tls.cipherSuites ?? []).entries()) {
    if (!cipherSuites.has(suite))
      at.warn('no_effect', `unknown cipher suite ${suite} is left out`, ['cipherSuites', index]);
    else if (tls.cipherSuites?.indexOf(suite) !== index) {
      at.warn('no_effect', `cipher suite ${suite} is given twice`, ['cipherSuites', index]);
    }
  }
  const byName = isSet(tls.credentialName) || (tls.credentialNames ?? []).length > 0;
  if (mode === 'ISTIO_MUTUAL')
    return refuse(tls, at, 'with ISTIO_MUTUAL', [
      'serverCertificate',
      'privateKey',
      'caCertificates',
      'credentialName',
    ]);
  if (mode === 'PASSTHROUGH' || mode === 'AUTO_PASSTHROUGH') {
    if (byName || isSet(tls.serverCertificate) || isSet(tls.privateKey) || isSet(tls.caCertificates)) {
      at.warn('no_effect', `${mode} does not use certificates: they are ignored`, ['mode']);
    }
    return;
  }
  if (byName) return;
  const several = (tls.tlsCertificates ?? []).length > 0;
  for (const field of several ? [] : (['serverCertificate', 'privateKey'] as const)) {
    if (!isSet(tls[field]))
      at.error('missing_field', `required for ${mode} without a credential: ${field}`, [field]);
  }
  for (const [index, certificate] of (tls.tlsCertificates ?? []).entries()) {
    for (const field of ['serverCertificate', 'privateKey'] as const) {
      if (!isSet(certificate[field]))
        at.error('missing_field', `required: ${field}`, ['tlsCertificates', index, field]);
    }
  }
  if (mode !== 'SIMPLE' && !isSet(tls.caCertificates) && !isSet(tls.caCertCredentialName)) {
    at.error('missing_field', `required for ${mode} without a credential: caCertificates`, [
      'caCertificates',
    ]);
  }
}

function refuse(
  tls: ServerTLSSettings,
  at: Checker,
  where: string,
  fields: readonly ('serverCertificate' | 'privateKey' | 'caCertificates' | 'credentialName')[],
): void {
  for (const field of fields) {
    if (isSet(tls[field])) at.error('mutually_exclusive', `${field} cannot be set ${where}`, [field]);
  }
}

function checkVersions(tls: ServerTLSSettings, at: Checker): void {
  const min = versions.indexOf(tls.minProtocolVersion ?? 'TLS_AUTO');
  const max = versions.indexOf(tls.maxProtocolVersion ?? 'TLS_AUTO');
  if (min > max && max !== 0)
    at.error('conflict', 'maxProtocolVersion is below minProtocolVersion', ['maxProtocolVersion']);
}
