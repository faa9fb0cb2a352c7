/** Metrics of the authority under Istio's names, `citadel_server_*`. */
import type { Counter, MetricsRegistry } from '#telemetry/metrics.ts';
import type { CertificateAuthority } from './certificate_authority.ts';

/** Handles of the series that the service updates. */
export interface CaMetrics {
  readonly csrs: Counter;
  readonly issued: Counter;
  readonly authenticationFailures: Counter;
  readonly csrParsingErrors: Counter;
  readonly identityErrors: Counter;
  /** Counter of signing errors by reason. */
  signErrors(reason: string): Counter;
}

/** Binds the series and keeps the expiry gauges true when the authority changes. */
export function caMetrics(registry: MetricsRegistry, authority: CertificateAuthority): CaMetrics {
  const counter = (name: string, help: string) => registry.counter(`citadel_server_${name}`, {}, help);
  const gauge = (name: string, help: string) => registry.gauge(`citadel_server_${name}`, {}, help);
  const rootEnd = gauge('root_cert_expiry_timestamp', 'Time in seconds since the epoch when the root ends.');
  const chainEnd = gauge(
    'cert_chain_expiry_timestamp',
    'Time in seconds since the epoch when the signing certificate ends.',
  );
  const showExpiry = (): void => {
    rootEnd.set(Math.floor(authority.expiry.rootMs / 1000));
    chainEnd.set(Math.floor(authority.expiry.chainMs / 1000));
  };
  showExpiry();
  authority.subscribe(showExpiry);
  return {
    csrs: counter('csr_count', 'CSRs received.'),
    issued: counter('success_cert_issuance_count', 'Certificates issued.'),
    authenticationFailures: counter('authentication_failure_count', 'Requests of callers not authenticated.'),
    csrParsingErrors: counter('csr_parsing_err_count', 'CSRs that could not be read or verified.'),
    identityErrors: counter('id_extraction_err_count', 'Callers without an identity of the trust domain.'),
    signErrors: (error) =>
      registry.counter(
        'citadel_server_csr_sign_err_count',
        { error },
        'CSRs that were not signed, by reason.',
      ),
  };
}
