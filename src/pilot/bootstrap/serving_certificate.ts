/** The control plane's own TLS certificate, from its own authority, renewed at half its life. */
import type { Logger } from '#base/log.ts';
import type { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import type { GrpcServerTls } from '#xds/server/grpc_server.ts';

export interface ServingCertificateOptions {
  readonly authority: CertificateAuthority;
  /** DNS names and IP addresses of the server. */
  readonly names: readonly string[];
  /** Life of a certificate in milliseconds, default 24 h. */
  readonly ttlMs?: number;
  readonly log: Logger;
  /** A new certificate is there. */
  readonly onRenew: (tls: GrpcServerTls) => void;
}

const dayMs = 86_400_000;

/** Wait after a failed renewal. */
const retryMs = 60_000;

/** Issues the certificate and keeps it fresh; also renews when the authority has a new root. */
export class ServingCertificate {
  readonly #options: ServingCertificateOptions;
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: ServingCertificateOptions) {
    this.#options = options;
    this.#unsubscribe = options.authority.subscribe(() => void this.#renew());
    this.#schedule((options.ttlMs ?? dayMs) / 2);
  }

  /** The first certificate, and what keeps it fresh. */
  static async issue(
    options: ServingCertificateOptions,
  ): Promise<{ readonly tls: GrpcServerTls; readonly renewal: ServingCertificate }> {
    return { tls: await issueTls(options), renewal: new ServingCertificate(options) };
  }

  close(): void {
    this.#unsubscribe();
    clearTimeout(this.#timer);
  }

  #schedule(afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#renew(), afterMs);
    this.#timer.unref();
  }

  async #renew(): Promise<void> {
    const { ttlMs = dayMs, log, onRenew } = this.#options;
    try {
      onRenew(await issueTls(this.#options));
      this.#schedule(ttlMs / 2);
      log.info('serving certificate renewed');
    } catch (error) {
      log.error('serving certificate not renewed, the old one stays', { error });
      this.#schedule(Math.min(retryMs, ttlMs / 10));
    }
  }
}

async function issueTls({ authority, names, ttlMs }: ServingCertificateOptions): Promise<GrpcServerTls> {
  const { certChain, privateKey } = await authority.issueServing(
    { uris: [], dnsNames: names },
    ttlMs ?? dayMs,
  );
  return { cert: certChain, key: privateKey, clientCa: authority.rootPem };
}
