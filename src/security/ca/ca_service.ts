/** IstioCertificateService.CreateCertificate (istio.v1.auth): a CSR of an authenticated workload in, its chain out. */
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';
import {
  IstioCertificateService,
  type IstioCertificateRequest,
} from '#api/gen/istio/security/v1alpha1/ca_pb.ts';
import type { Logger } from '#base/log.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import { authenticate, type Authenticator, type Caller } from '../authn/authenticator.ts';
import { authenticationRequestOf } from '../authn/connect_request.ts';
import { CsrError, parseCsr } from '../pki/csr.ts';
import { parseSpiffe } from '../spiffe.ts';
import { SigningError, type CertificateAuthority } from './certificate_authority.ts';
import { caMetrics, type CaMetrics } from './ca_metrics.ts';

/** What the service needs. */
export interface CaServiceOptions {
  readonly authority: CertificateAuthority;
  /** Asked in order; the first that knows the caller decides. */
  readonly authenticators: readonly Authenticator[];
  readonly metrics: MetricsRegistry;
  readonly log: Logger;
}

/** Longest life a request may ask for, in seconds; more is refused before any arithmetic. */
const maxRequestedSeconds = 10n * 365n * 86_400n;

/**
 * Adds the service to a router. The identity that the CSR wishes for is ignored: the certificate names the caller.
 * The adapter must pass `connectionContextValues` as its `contextValues`.
 */
export function registerCaService(router: ConnectRouter, options: CaServiceOptions): void {
  const metrics = caMetrics(options.metrics, options.authority);
  const log = options.log.scope('ca');
  router.service(IstioCertificateService, {
    createCertificate: async (request, context) => {
      metrics.csrs.inc();
      const caller = await authenticateCaller(options, metrics, log, context);
      const certChain = issue(options, metrics, log, request, caller);
      metrics.issued.inc();
      log.debug('certificate issued', { identity: caller.identities[0], source: caller.source });
      return { certChain };
    },
  });
}

async function authenticateCaller(
  options: CaServiceOptions,
  metrics: CaMetrics,
  log: Logger,
  context: HandlerContext,
): Promise<Caller> {
  const request = authenticationRequestOf(context);
  const result = await authenticate(options.authenticators, request);
  if (result.caller === undefined) {
    metrics.authenticationFailures.inc();
    log.warn('caller not authenticated', { from: request.connection.remoteAddress, reasons: result.reasons });
    throw new ConnectError('request authenticate failure', Code.Unauthenticated);
  }
  const { identities } = result.caller;
  const { trustDomain } = options.authority;
  if (identities.length === 0 || identities.some((uri) => parseSpiffe(uri)?.trustDomain !== trustDomain)) {
    metrics.identityErrors.inc();
    log.warn('caller is of another trust domain', { identities, trustDomain });
    throw new ConnectError('the caller is of another trust domain', Code.PermissionDenied);
  }
  return result.caller;
}

function issue(
  options: CaServiceOptions,
  metrics: CaMetrics,
  log: Logger,
  request: IstioCertificateRequest,
  caller: Caller,
): string[] {
  if (request.validityDuration > maxRequestedSeconds) {
    metrics.signErrors('ttl').inc();
    throw new ConnectError('validity_duration is too long', Code.InvalidArgument);
  }
  try {
    const { publicKey } = parseCsr(request.csr);
    const ttlMs = Number(request.validityDuration) * 1000;
    return options.authority.sign(publicKey, { uris: caller.identities }, ttlMs);
  } catch (error) {
    if (error instanceof CsrError) {
      metrics.csrParsingErrors.inc();
      log.warn('CSR refused', { identity: caller.identities[0], error });
      throw new ConnectError(error.message, Code.InvalidArgument);
    }
    if (error instanceof SigningError) {
      metrics.signErrors(error.reason).inc();
      log.warn('certificate not issued', { identity: caller.identities[0], error });
      throw new ConnectError(error.message, error.reason === 'ca' ? Code.Internal : Code.InvalidArgument);
    }
    metrics.signErrors('internal').inc();
    log.error('certificate not issued', { identity: caller.identities[0], error });
    throw new ConnectError('CSR signing error', Code.Internal);
  }
}
