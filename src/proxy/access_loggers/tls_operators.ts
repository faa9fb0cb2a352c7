/** What the handshakes of both sides learned: names, versions and fields of certificates. */
import { X509Certificate, createHash } from 'node:crypto';
import type { Evaluator, OperatorTable, OperatorValue } from '#telemetry/access_log/format.ts';
import { compileTimeFormat } from '#telemetry/access_log/time_format.ts';
import type { TlsInfo } from '../network/connection.ts';
import { formatIp, parseIp } from '../network/ip.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { LogEntry } from './log_entry.ts';

type Pick = (info: StreamInfo) => TlsInfo | undefined;
type Read = (tls: TlsInfo) => OperatorValue;

/** Parsed certificates of open connections. */
const parsed = new WeakMap<Buffer, X509Certificate>();

function certificateOf({ peerCertificateDer }: TlsInfo): X509Certificate | undefined {
  if (peerCertificateDer === undefined) return undefined;
  let certificate = parsed.get(peerCertificateDer);
  if (certificate === undefined) {
    certificate = new X509Certificate(peerCertificateDer);
    parsed.set(peerCertificateDer, certificate);
  }
  return certificate;
}

function list(values: readonly string[]): string | undefined {
  return values.length === 0 ? undefined : values.join(',');
}

function fingerprint(algorithm: 'sha256' | 'sha1'): Read {
  return ({ peerCertificateDer }) =>
    peerCertificateDer === undefined
      ? undefined
      : createHash(algorithm).update(peerCertificateDer).digest('hex');
}

/** PEM of the peer, percent-encoded as in x-forwarded-client-cert. */
const peerCertificate: Read = (tls) => {
  const pem = certificateOf(tls)?.toString();
  return pem === undefined ? undefined : encodeURIComponent(pem);
};

function validity(argument: string | undefined, field: 'validFrom' | 'validTo'): Read {
  const format = argument === undefined || argument === '' ? undefined : compileTimeFormat(argument);
  return (tls) => {
    const text = certificateOf(tls)?.[field];
    if (text === undefined) return undefined;
    const ms = Date.parse(text);
    return format === undefined ? new Date(ms).toISOString() : format(ms);
  };
}

/** RFC 2253 form of a name that Node prints one attribute a line. */
function nameOf(lines: string | undefined): string | undefined {
  return lines === undefined || lines === '' ? undefined : lines.split('\n').reverse().join(',');
}

/** RFC 5952 form: Node writes IPv6 in full. */
function canonicalIp(text: string): string {
  const bytes = parseIp(text);
  return bytes === undefined ? text : formatIp(bytes);
}

/** IP addresses of Node's list of alternative names. */
function ipSans(names: string | undefined): string[] {
  const marker = 'IP Address:';
  return (names ?? '')
    .split(', ')
    .flatMap((name) => (name.startsWith(marker) ? [canonicalIp(name.slice(marker.length))] : []));
}

const reads: Readonly<Record<string, Read>> = {
  PEER_URI_SAN: (tls) => list(tls.peerUriSans),
  PEER_DNS_SAN: (tls) => list(tls.peerDnsSans),
  PEER_IP_SAN: (tls) => list(ipSans(certificateOf(tls)?.subjectAltName)),
  PEER_SUBJECT: (tls) => tls.peerSubject,
  PEER_ISSUER: (tls) => nameOf(certificateOf(tls)?.issuer),
  PEER_SERIAL: (tls) => certificateOf(tls)?.serialNumber.toLowerCase(),
  PEER_FINGERPRINT_256: fingerprint('sha256'),
  PEER_FINGERPRINT_1: fingerprint('sha1'),
  PEER_CERT: peerCertificate,
  LOCAL_URI_SAN: (tls) => list(tls.localUriSans),
  LOCAL_DNS_SAN: (tls) => list(tls.localDnsSans ?? []),
  LOCAL_IP_SAN: (tls) => list(tls.localIpSans ?? []),
  LOCAL_SUBJECT: (tls) => tls.localSubject,
  TLS_VERSION: (tls) => tls.version,
  TLS_CIPHER: (tls) => tls.cipher,
};

function operators(side: string, pick: Pick): OperatorTable<LogEntry> {
  const evaluator =
    (read: Read): Evaluator<LogEntry> =>
    ({ info }) => {
      const tls = pick(info);
      return tls === undefined ? undefined : read(tls);
    };
  const table: Record<string, OperatorTable<LogEntry>[string]> = {};
  for (const [name, read] of Object.entries(reads)) table[`${side}_${name}`] = () => evaluator(read);
  table[`${side}_PEER_CERT_V_START`] = (argument) => evaluator(validity(argument, 'validFrom'));
  table[`${side}_PEER_CERT_V_END`] = (argument) => evaluator(validity(argument, 'validTo'));
  return table;
}

export const tlsOperators: OperatorTable<LogEntry> = {
  ...operators('DOWNSTREAM', (info) => info.connection.tls),
  ...operators('UPSTREAM', (info) => info.upstream?.tls),
};
