/** What a handshake learned, read from the socket when somebody asks: most requests of a connection ask for nothing new. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { TlsInfo } from '../../network/connection.ts';
import { type AltNames, formatSubject, readAltNames } from './subject.ts';

/** Names of one certificate. */
export interface CertificateNames {
  readonly alt: AltNames;
  readonly subject: string;
  /** The certificate itself: one object for all connections of the same peer. */
  readonly certificate: X509Certificate;
}

/** Peers of a mesh are few and connect often: their parsed names are kept by the bytes of the certificate. */
const maxCachedPeers = 2048;
const cache = new Map<string, CertificateNames>();

/** Names of a certificate; remembered. */
export function certificateNames(certificate: X509Certificate): CertificateNames {
  const key = certificate.raw.toString('latin1');
  let names = cache.get(key);
  if (names === undefined) {
    names = { alt: readAltNames(certificate), subject: formatSubject(certificate.subject), certificate };
    if (cache.size >= maxCachedPeers) cache.delete(cache.keys().next().value ?? '');
    cache.set(key, names);
  }
  return names;
}

const noStrings: readonly string[] = [];

/** Record of one TLS connection. */
export class ConnectionTlsInfo implements TlsInfo {
  readonly version: string;
  readonly cipher: string;
  readonly peerCertificateValidated: boolean;
  readonly peerUriSans: readonly string[];
  readonly peerDnsSans: readonly string[];
  readonly peerSubject: string;
  readonly serverName: string;
  readonly sessionReused: boolean;
  readonly #peer: CertificateNames | undefined;
  readonly #local: CertificateNames | undefined;

  constructor(
    socket: TLSSocket,
    peer: X509Certificate | undefined,
    validated: boolean,
    local: CertificateNames | undefined,
    serverName: string | false | null | undefined,
    sessionReused: boolean,
  ) {
    this.serverName = typeof serverName === 'string' ? serverName.toLowerCase() : '';
    this.sessionReused = sessionReused;
    this.version = socket.getProtocol() ?? '';
    this.cipher = socket.getCipher().name;
    this.peerCertificateValidated = validated && peer !== undefined;
    const names = peer === undefined ? undefined : certificateNames(peer);
    this.#peer = names;
    this.peerUriSans = names?.alt.uris ?? noStrings;
    this.peerDnsSans = names?.alt.dns ?? noStrings;
    this.peerSubject = names?.subject ?? '';
    this.#local = local;
  }

  get localUriSans(): readonly string[] {
    return this.#local?.alt.uris ?? noStrings;
  }

  get localDnsSans(): readonly string[] {
    return this.#local?.alt.dns ?? noStrings;
  }

  get localIpSans(): readonly string[] {
    return this.#local?.alt.ips ?? noStrings;
  }

  get localSubject(): string {
    return this.#local?.subject ?? '';
  }

  get peerCertificateDer(): Buffer | undefined {
    return this.#peer?.certificate.raw;
  }
}
