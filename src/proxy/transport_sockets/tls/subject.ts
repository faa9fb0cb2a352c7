/** Names inside certificates: subjects as RFC 2253 and lists of alternative names. */
import type { X509Certificate } from 'node:crypto';
import { formatIp, parseIp } from '../../network/ip.ts';

/** `CN=a,O=b` from Node's `O=b\nCN=a`, whose values are already escaped. */
export function formatSubject(subject: string | undefined): string {
  return subject === undefined ? '' : subject.split('\n').reverse().join(',');
}

/** Alternative names by kind. */
export interface AltNames {
  readonly uris: readonly string[];
  readonly dns: readonly string[];
  readonly emails: readonly string[];
  readonly ips: readonly string[];
}

const none: AltNames = { uris: [], dns: [], emails: [], ips: [] };

/** Splits `URI:spiffe://a, DNS:b`; Node quotes names that hold commas or quotes as JSON strings. */
function split(text: string): [kind: string, value: string][] {
  const names: [string, string][] = [];
  let at = 0;
  while (at < text.length) {
    const colon = text.indexOf(':', at);
    if (colon < 0) break;
    const kind = text.slice(at, colon);
    let end: number;
    let value: string;
    if (text[colon + 1] === '"') {
      end = colon + 2;
      while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
      end++;
      value = JSON.parse(text.slice(colon + 1, end)) as string;
    } else {
      const comma = text.indexOf(', ', colon);
      end = comma < 0 ? text.length : comma;
      value = text.slice(colon + 1, end);
    }
    names.push([kind, value]);
    at = end + 2;
  }
  return names;
}

/** Alternative names of a certificate. */
export function readAltNames(certificate: X509Certificate): AltNames {
  const text = certificate.subjectAltName;
  if (text === undefined) return none;
  const names = split(text);
  const of = (kind: string): string[] => names.filter((name) => name[0] === kind).map((name) => name[1]);
  // OpenSSL writes IPv6 in capitals and without `::`.
  const ips = of('IP Address').map((text) => {
    const ip = parseIp(text);
    return ip === undefined ? text : formatIp(ip);
  });
  return { uris: of('URI'), dns: of('DNS'), emails: of('email'), ips };
}
