/**
 * Whether a peer's certificate is the one we want (envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext).
 * OpenSSL checks the chain against `trustedCa`; names and hashes are checked here.
 */
import { X509Certificate, createHash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import {
  type CertificateValidationContext,
  CertificateValidationContext_TrustChainVerification as TrustChain,
  SubjectAltNameMatcher_SanType as SanType,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts';
import { SPIFFECertValidatorConfigSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import { type StringPredicate, compileStringMatcher } from '../../http/string_matcher.ts';
import { readDataSource } from './data_source.ts';
import type { AltNames } from './subject.ts';
import { describeChainProblem, describeVerifyFailure } from './tls_errors.ts';
import { certificateNames } from './tls_info.ts';

/** Why a peer is refused, and where Envoy counts it (`ssl.fail_verify_*`). */
export interface VerifyFailure {
  readonly counter: 'failVerifyError' | 'failVerifySan' | 'failVerifyCertHash';
  /** Envoy's text. */
  readonly text: string;
}

/** A compiled validation context. */
export interface PeerValidation {
  /** Roots, PEM; undefined when any chain is accepted. */
  readonly trustedCa: Buffer | undefined;
  readonly crl: Buffer | undefined;
  /**
   * False when a verdict needs the whole chain that the peer showed: a resumed session has its first certificate only.
   */
  readonly resumable: boolean;
  /** Undefined when the peer is accepted. */
  check(
    peer: X509Certificate,
    chain: { readonly code: string; readonly text: string } | undefined,
    names: readonly string[] | undefined,
  ): VerifyFailure | undefined;
}

type NameMatcher = (names: AltNames) => boolean;

/** DNS names of certificates may be wildcards: `*.example.com` stands for one label (RFC 6125, 6.4.3). */
function dnsMatches(name: string, pattern: string): boolean {
  if (name === pattern) return true;
  if (!name.startsWith('*.')) return false;
  const dot = pattern.indexOf('.');
  return dot > 0 && pattern.slice(dot) === name.slice(1);
}

function compileNames(proto: CertificateValidationContext): NameMatcher[] {
  const matchers = proto.matchTypedSubjectAltNames.map((entry): NameMatcher => {
    if (entry.matcher === undefined) throw new Error('match_typed_subject_alt_names: no matcher');
    const matches = compileStringMatcher(entry.matcher);
    switch (entry.sanType) {
      case SanType.DNS: {
        const { matchPattern } = entry.matcher;
        const exact = matchPattern.case === 'exact' ? matchPattern.value : undefined;
        return ({ dns }) =>
          dns.some((name) => (exact === undefined ? matches(name) : dnsMatches(name, exact)));
      }
      case SanType.URI:
        return ({ uris }) => uris.some(matches);
      case SanType.EMAIL:
        return ({ emails }) => emails.some(matches);
      case SanType.IP_ADDRESS:
        return ({ ips }) => ips.some(matches);
      default:
        throw new Error(`match_typed_subject_alt_names: san_type ${entry.sanType} is not implemented`);
    }
  });
  const anyKind = proto.matchSubjectAltNames.map((entry): NameMatcher => {
    const matches: StringPredicate = compileStringMatcher(entry);
    return ({ dns, uris, ips }) => dns.some(matches) || uris.some(matches) || ips.some(matches);
  });
  return [...matchers, ...anyKind];
}

/** Roots by SPIFFE trust domain (tls.cert_validator.spiffe). */
function readTrustDomains(proto: CertificateValidationContext): Map<string, Buffer> | undefined {
  const any = proto.customValidatorConfig?.typedConfig;
  if (any === undefined) return undefined;
  if (any.typeUrl !== typeUrlOf(SPIFFECertValidatorConfigSchema))
    throw new Error(`custom_validator_config ${any.typeUrl} is not compiled in`);
  const domains = new Map<string, Buffer>();
  for (const { name, trustBundle } of fromBinary(SPIFFECertValidatorConfigSchema, any.value).trustDomains) {
    const bundle = readDataSource(trustBundle);
    if (bundle === undefined) throw new Error(`trust domain ${name}: no trust_bundle`);
    domains.set(name, bundle);
  }
  return domains;
}

function pemCertificates(pem: Buffer): X509Certificate[] {
  const blocks =
    pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** The trust domain of a SPIFFE id; empty when the name is none. */
function trustDomainOf(uri: string | undefined): string {
  return /^spiffe:\/\/([^/]+)/.exec(uri ?? '')?.[1] ?? '';
}

/** Whether the chain that the peer sent ends at one of these roots. OpenSSL has verified it against the roots of all domains. */
function endsAt(peer: X509Certificate, roots: readonly X509Certificate[]): boolean {
  let current: X509Certificate | undefined = peer;
  for (let depth = 0; current !== undefined && depth < 10; depth++) {
    const child: X509Certificate = current;
    if (roots.some((root) => child.checkIssued(root) && child.verify(root.publicKey))) return true;
    const issuer: X509Certificate | undefined = child.issuerCertificate;
    current = issuer === undefined || issuer.fingerprint256 === child.fingerprint256 ? undefined : issuer;
  }
  return false;
}

/** Authorities between the peer and the first certificate that is its own issuer, or the end of what it sent. */
function intermediates(peer: X509Certificate): number {
  let count = 0;
  let current = peer.issuerCertificate;
  for (; current !== undefined && count < 100; count++) {
    const issuer: X509Certificate | undefined = current.issuerCertificate;
    if (current.subject === current.issuer) break;
    current = issuer;
  }
  return count;
}

function refuseUnknown(proto: CertificateValidationContext): void {
  if (proto.onlyVerifyLeafCertCrl) throw new Error('only_verify_leaf_cert_crl is not implemented');
  if (proto.requireSignedCertificateTimestamp === true)
    throw new Error('require_signed_certificate_timestamp is not implemented');
  if (proto.caCertificateProviderInstance !== undefined)
    throw new Error('ca_certificate_provider_instance is not implemented');
  for (const hash of proto.verifyCertificateHash)
    if (!/^(?:[0-9a-f]{64}|(?:[0-9a-f]{2}:){31}[0-9a-f]{2})$/i.test(hash))
      throw new Error(`verify_certificate_hash: not a SHA-256 in hex: ${JSON.stringify(hash)}`);
  for (const spki of proto.verifyCertificateSpki)
    if (Buffer.from(spki, 'base64').length !== 32)
      throw new Error(`verify_certificate_spki: not a SHA-256 in base64: ${JSON.stringify(spki)}`);
}

/** @throws Error when a matcher, a bundle or a source is bad, or for fields that are not implemented. */
export function compileValidation(proto: CertificateValidationContext): PeerValidation {
  refuseUnknown(proto);
  const matchers = compileNames(proto);
  const hashes = new Set(proto.verifyCertificateHash.map((hash) => hash.replaceAll(':', '').toLowerCase()));
  const spkis = new Set(proto.verifyCertificateSpki);
  const domains = readTrustDomains(proto);
  const trustedCa =
    domains === undefined ? readDataSource(proto.trustedCa) : Buffer.concat([...domains.values()]);
  // node:tls skips what it cannot read: a broken bundle would trust nobody and say nothing.
  if (trustedCa !== undefined && pemCertificates(trustedCa).length === 0)
    throw new Error('trusted_ca holds no certificate');
  const roots = new Map([...(domains ?? [])].map(([name, pem]) => [name, pemCertificates(pem)]));
  const acceptsUntrusted =
    proto.trustChainVerification === TrustChain.ACCEPT_UNTRUSTED ||
    (trustedCa === undefined && proto.systemRootCerts === undefined);
  const allRoots = proto.allowExpiredCertificate && trustedCa !== undefined ? pemCertificates(trustedCa) : [];
  const { maxVerifyDepth } = proto;
  const refuse = (counter: VerifyFailure['counter'], reason: string): VerifyFailure => ({
    counter,
    text: describeVerifyFailure(reason),
  });
  return {
    trustedCa,
    crl: readDataSource(proto.crl),
    resumable: domains === undefined && !proto.allowExpiredCertificate && maxVerifyDepth === undefined,
    check(peer, chain, wanted) {
      if (chain !== undefined && !acceptsUntrusted) {
        // OpenSSL tells the last problem it saw: behind an expired certificate there may be an unknown authority.
        const forgiven =
          chain.code === 'CERT_HAS_EXPIRED' && proto.allowExpiredCertificate && endsAt(peer, allRoots);
        if (!forgiven) return { counter: 'failVerifyError', text: describeChainProblem(chain) };
      }
      if (maxVerifyDepth !== undefined && intermediates(peer) > maxVerifyDepth)
        return refuse(
          'failVerifyError',
          'X509_verify_cert: certificate verification error at depth 0: certificate chain too long',
        );
      const { alt } = certificateNames(peer);
      if (domains !== undefined) {
        const bundle = roots.get(trustDomainOf(alt.uris[0]));
        if (bundle === undefined || !endsAt(peer, bundle))
          return refuse('failVerifyError', 'no trust bundle for the trust domain of the certificate');
      }
      if (wanted !== undefined) {
        const found = wanted.some(
          (name) => alt.dns.some((own) => dnsMatches(own, name)) || alt.uris.includes(name),
        );
        if (!found) return refuse('failVerifySan', sanText(alt));
      } else if (matchers.length > 0 && !matchers.some((matches) => matches(alt))) {
        return refuse('failVerifySan', sanText(alt));
      }
      if (hashes.size + spkis.size > 0 && !pinned(peer, hashes, spkis))
        return refuse('failVerifyCertHash', 'the certificate matches no pinned hash');
      return undefined;
    },
  };
}

function sanText(alt: AltNames): string {
  return `SAN matcher, certificate SANs are [${[...alt.uris, ...alt.dns, ...alt.ips, ...alt.emails].join(', ')}]`;
}

function pinned(peer: X509Certificate, hashes: ReadonlySet<string>, spkis: ReadonlySet<string>): boolean {
  if (hashes.has(createHash('sha256').update(peer.raw).digest('hex'))) return true;
  if (spkis.size === 0) return false;
  const spki = peer.publicKey.export({ type: 'spki', format: 'der' });
  return spkis.has(createHash('sha256').update(spki).digest('base64'));
}

/** Merges as Envoy does for a combined context: fields of the secret replace, lists are appended. */
export function mergeValidation(
  base: CertificateValidationContext | undefined,
  secret: CertificateValidationContext | undefined,
): CertificateValidationContext | undefined {
  if (base === undefined || secret === undefined) return secret ?? base;
  return {
    ...base,
    trustedCa: secret.trustedCa ?? base.trustedCa,
    systemRootCerts: secret.systemRootCerts ?? base.systemRootCerts,
    crl: secret.crl ?? base.crl,
    verifyCertificateSpki: [...base.verifyCertificateSpki, ...secret.verifyCertificateSpki],
    verifyCertificateHash: [...base.verifyCertificateHash, ...secret.verifyCertificateHash],
    matchTypedSubjectAltNames: [...base.matchTypedSubjectAltNames, ...secret.matchTypedSubjectAltNames],
    matchSubjectAltNames: [...base.matchSubjectAltNames, ...secret.matchSubjectAltNames],
    allowExpiredCertificate: base.allowExpiredCertificate || secret.allowExpiredCertificate,
    trustChainVerification:
      secret.trustChainVerification === TrustChain.VERIFY_TRUST_CHAIN
        ? base.trustChainVerification
        : secret.trustChainVerification,
    customValidatorConfig: secret.customValidatorConfig ?? base.customValidatorConfig,
  };
}
