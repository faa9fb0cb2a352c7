/** Certificates of one context: which of them answers to a server name (Envoy's DefaultTlsCertificateSelector). */
import { X509Certificate } from 'node:crypto';
import type { TlsCertificate } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts';
import { readDataSource } from './data_source.ts';
import { type CertificateNames, certificateNames } from './tls_info.ts';
import { refuseFields } from '../../network/refused_fields.ts';

/** One certificate with its key. */
export interface OwnCertificate {
  /** Chain, PEM, leaf first. */
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly passphrase: string | undefined;
  readonly names: CertificateNames;
  /** `rsa`, `ec`, ...: one OpenSSL context holds one certificate of each. */
  readonly keyType: string;
  /** DNS names it answers to, lower case: the alternative names, without any the common name. */
  readonly serverNames: readonly string[];
}

function serverNamesOf(names: CertificateNames): string[] {
  if (names.alt.dns.length > 0) return names.alt.dns.map((name) => name.toLowerCase());
  const common = /(?:^|,)CN=([^,]+)/.exec(names.subject)?.[1];
  return common === undefined ? [] : [common.toLowerCase()];
}

/** Certificates whose parts stand in the message itself: a secret is read once for all clusters that name it. */
const inlineOnes = new WeakMap<TlsCertificate, OwnCertificate>();

/** @throws Error when a part is absent or does not parse. */
export function readCertificate(proto: TlsCertificate): OwnCertificate {
  const known = inlineOnes.get(proto);
  if (known !== undefined) return known;
  refuseFields(proto, 'tls_certificate.');
  const read = parseCertificate(proto);
  const sources = [proto.certificateChain, proto.privateKey, proto.password];
  if (sources.every((source) => source?.specifier.case !== 'filename')) inlineOnes.set(proto, read);
  return read;
}

function parseCertificate(proto: TlsCertificate): OwnCertificate {
  if (proto.pkcs12 !== undefined) throw new Error('tls_certificate: pkcs12 is not implemented');
  if (proto.privateKeyProvider !== undefined)
    throw new Error('tls_certificate: private_key_provider is not implemented');
  const cert = readDataSource(proto.certificateChain);
  const key = readDataSource(proto.privateKey);
  if (cert === undefined || key === undefined)
    throw new Error('tls_certificate needs certificate_chain and private_key');
  const leaf = new X509Certificate(cert);
  const names = certificateNames(leaf);
  return {
    cert,
    key,
    passphrase: readDataSource(proto.password)?.toString(),
    names,
    keyType: leaf.publicKey.asymmetricKeyType ?? '',
    serverNames: serverNamesOf(names),
  };
}

/** The first certificate of each kind of key, in order. */
function onePerKeyType(certificates: readonly OwnCertificate[]): OwnCertificate[] {
  const kinds = new Set<string>();
  return certificates.filter(({ keyType }) => !kinds.has(keyType) && kinds.add(keyType));
}

/**
 * Certificates for a server name: those that bear it, else those with a wildcard for it, else (the client named nobody, or
 * somebody else) the first ones. With several kinds of keys the client's algorithms decide.
 * @param serverName lower case, empty for none.
 */
export function certificatesFor(
  certificates: readonly OwnCertificate[],
  serverName: string,
): readonly OwnCertificate[] {
  if (serverName !== '') {
    const exact = certificates.filter(({ serverNames }) => serverNames.includes(serverName));
    if (exact.length > 0) return onePerKeyType(exact);
    const dot = serverName.indexOf('.');
    if (dot > 0) {
      const wildcard = `*${serverName.slice(dot)}`;
      const found = certificates.filter(({ serverNames }) => serverNames.includes(wildcard));
      if (found.length > 0) return onePerKeyType(found);
    }
  }
  return onePerKeyType(certificates);
}
