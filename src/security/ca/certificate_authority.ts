/** The mesh's certificate authority: signs workload identities with a self-signed or plugged-in root. */
import type { KeyObject, X509Certificate } from 'node:crypto';
import type { Logger } from '#base/log.ts';
import { clockSkewMs, issueLeaf, type LeafNames } from '../pki/certificate.ts';
import { makeKeyPair, privateKeyPem, publicKeyProblem, type KeyAlgorithm } from '../pki/keys.ts';
import { isTrustDomain } from '../spiffe.ts';
import { directoryKeeper, type CaFiles, type CaKeeper } from './ca_directory.ts';
import {
  certificatePem,
  makeSelfSigned,
  peerProblem,
  readCaMaterial,
  renewSelfSigned,
  type CaMaterial,
} from './ca_material.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** How an authority is made. */
export interface CertificateAuthorityOptions {
  /** Trust domain of all identities, Istio's default `cluster.local`. */
  readonly trustDomain: string;
  /**
   * Directory with ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem. Absent files are made (self-signed), files
   * that are there are used (plug-in authority). Without directory the authority lives in memory.
   */
  readonly directory?: string;
  /** In place of a directory: another place that keeps the authority. */
  readonly keeper?: CaKeeper;
  /** Key of a self-signed root. Default `ecdsa-p256`. */
  readonly keyAlgorithm?: KeyAlgorithm;
  /** Life of a self-signed root in milliseconds. Default 10 years (`CITADEL_SELF_SIGNED_CA_CERT_TTL`). */
  readonly rootTtlMs?: number;
  /** Life of a leaf when the request names none. Default 24 h (`DEFAULT_WORKLOAD_CERT_TTL`). */
  readonly defaultLeafTtlMs?: number;
  /** Longest life of a leaf that may be asked for. Default 90 days (`MAX_WORKLOAD_CERT_TTL`). */
  readonly maxLeafTtlMs?: number;
  /** A self-signed root is renewed when this part of its life is left. Default 0.2. */
  readonly renewRemainingRatio?: number;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
  readonly log?: Logger;
}

/** Why a certificate was not issued. */
export class SigningError extends Error {
  override name = 'SigningError';
  /** `ttl`: longer than allowed; `key`: not accepted; `ca`: the authority itself has ended. */
  readonly reason: 'ttl' | 'key' | 'ca';

  constructor(reason: 'ttl' | 'key' | 'ca', message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A certificate with its private key, as TLS servers take them. */
export interface ServingCertificate {
  /** Leaf and intermediates, PEM. */
  readonly certChain: string;
  readonly privateKey: string;
}

/** Signs with the current root; `refresh` takes over files that changed and renews a root near its end. */
export class CertificateAuthority {
  readonly trustDomain: string;
  readonly #keeper: CaKeeper | undefined;
  readonly #options: CertificateAuthorityOptions;
  readonly #now: () => number;
  readonly #listeners = new Set<() => void>();
  #material: CaMaterial;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    options: CertificateAuthorityOptions,
    keeper: CaKeeper | undefined,
    material: CaMaterial,
  ) {
    this.trustDomain = options.trustDomain;
    this.#keeper = keeper;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#material = material;
  }

  /**
   * Reads the authority from its directory or makes a self-signed one.
   * @throws Error when the files do not fit together or the trust domain is malformed.
   */
  static async open(options: CertificateAuthorityOptions): Promise<CertificateAuthority> {
    if (!isTrustDomain(options.trustDomain))
      throw new Error(`trust domain ${options.trustDomain} is malformed`);
    const now = options.now ?? Date.now;
    const { directory } = options;
    const keeper = options.keeper ?? (directory === undefined ? undefined : directoryKeeper(directory));
    let files = await keeper?.read();
    if (files === undefined) {
      files = await makeSelfSigned(
        options.trustDomain,
        options.keyAlgorithm ?? 'ecdsa-p256',
        now(),
        options.rootTtlMs ?? 3650 * dayMs,
      );
      if (keeper !== undefined) files = await keeper.create(files);
      options.log?.info('made a self-signed root', { trustDomain: options.trustDomain });
    }
    return new CertificateAuthority(options, keeper, readCaMaterial(files, now()));
  }

  /** Roots that verify the mesh's certificates, PEM. */
  get rootPem(): string {
    return this.#material.roots.map(certificatePem).join('');
  }

  /** When the signing certificate and the first root end, milliseconds since the epoch. */
  get expiry(): { readonly chainMs: number; readonly rootMs: number } {
    const { certificate, roots } = this.#material;
    const ends = roots.map((root) => root.validToDate.getTime());
    return { chainMs: certificate.validToDate.getTime(), rootMs: Math.min(...ends) };
  }

  /**
   * Issues a leaf. A life of 0 or below means the default; the leaf never outlives the authority.
   * @returns PEM texts: the leaf, intermediates if any, the roots last.
   * @throws SigningError
   */
  sign(publicKey: KeyObject, names: LeafNames, ttlMs = 0): string[] {
    const { certificate, privateKey, intermediates, roots } = this.#material;
    const leaf = issueLeaf({ certificate, privateKey }, publicKey, names, this.#validity(publicKey, ttlMs));
    return [leaf, ...intermediates.map(certificatePem), ...roots.map(certificatePem)];
  }

  /** Makes a key and a certificate for a server of the control plane itself. */
  async issueServing(names: LeafNames, ttlMs = 0): Promise<ServingCertificate> {
    const keys = await makeKeyPair('ecdsa-p256');
    const chain = this.sign(keys.publicKey, names, ttlMs);
    return {
      certChain: chain.slice(0, 1 + this.#material.intermediates.length).join(''),
      privateKey: privateKeyPem(keys.privateKey),
    };
  }

  /** Undefined when a peer's certificate leads to our root and is valid now, else the reason. */
  peerProblem(leaf: X509Certificate, sent: readonly X509Certificate[]): string | undefined {
    return peerProblem(this.#material, leaf, sent, this.#now());
  }

  /** Takes over changed files, renews a self-signed root near its end. Keeps the old authority when that fails. */
  async refresh(): Promise<'unchanged' | 'reloaded' | 'renewed'> {
    const files = await this.#keeper?.read();
    if (files !== undefined && !sameFiles(files, this.#material.files)) {
      this.#replace(readCaMaterial(files, this.#now()));
      return 'reloaded';
    }
    if (!this.#material.selfSigned || !this.#nearEnd()) return 'unchanged';
    const ttlMs = this.#options.rootTtlMs ?? 3650 * dayMs;
    const renewed = renewSelfSigned(this.#material, this.trustDomain, this.#now(), ttlMs);
    if (this.#keeper !== undefined && !(await this.#keeper.replace(renewed))) return 'unchanged';
    this.#replace(readCaMaterial(renewed, this.#now()));
    return 'renewed';
  }

  /** Calls `refresh` at an interval (default 1 h, `CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL`) until `close`. */
  watch(intervalMs = hourMs): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => {
      this.refresh().then(
        (result) => {
          if (result !== 'unchanged') this.#options.log?.info(`root ${result}`);
        },
        (error: unknown) => this.#options.log?.error('root not refreshed, the old one stays', { error }),
      );
    }, intervalMs);
    this.#timer.unref();
  }

  /** Hears of a new signing certificate or root. Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  #validity(publicKey: KeyObject, ttlMs: number): { notBeforeMs: number; notAfterMs: number } {
    const now = this.#now();
    const problem = publicKeyProblem(publicKey);
    if (problem !== undefined) throw new SigningError('key', problem);
    const maxMs = this.#options.maxLeafTtlMs ?? 90 * dayMs;
    const wanted = ttlMs > 0 ? ttlMs : (this.#options.defaultLeafTtlMs ?? dayMs);
    if (wanted > maxMs) {
      throw new SigningError(
        'ttl',
        `requested life of ${wanted / 1000} s is above the limit of ${maxMs / 1000} s`,
      );
    }
    const notAfterMs = Math.min(now + wanted, this.#material.certificate.validToDate.getTime());
    if (notAfterMs <= now) throw new SigningError('ca', 'the certificate of the authority has ended');
    return { notBeforeMs: now - clockSkewMs, notAfterMs };
  }

  #nearEnd(): boolean {
    const { validFromDate, validToDate } = this.#material.certificate;
    const life = validToDate.getTime() - validFromDate.getTime();
    return validToDate.getTime() - this.#now() < life * (this.#options.renewRemainingRatio ?? 0.2);
  }

  #replace(material: CaMaterial): void {
    this.#material = material;
    for (const listener of this.#listeners) listener();
  }
}

function sameFiles(a: CaFiles, b: CaFiles): boolean {
  return (
    a.certificate === b.certificate &&
    a.privateKey === b.privateKey &&
    a.root === b.root &&
    a.chain === b.chain
  );
}
