/** Retries of routes. */
import { create } from '@bufbuild/protobuf';
import { type RetryPolicy, RetryPolicySchema } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { PreviousHostsPredicateSchema } from '#api/gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts';
import { PreviousPrioritiesConfigSchema } from '#api/gen/envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config_pb.ts';
import { retry } from '#api/well_known.ts';
import type { HTTPRetry } from '#config/kinds/virtual_service/types.ts';
import { any, durationOf, parseDuration } from '../wire.ts';

/**
 * Conditions of retries that no rule sets. All of them mean that the request did not reach the application, or that it
 * says itself that trying again is safe; status 503 is not among them, since the application may have done its work.
 */
const defaultRetryOn = 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes';
const defaultAttempts = 2;
/** How often another host is looked for before one that was tried already is taken. */
const hostSelectionAttempts = 5n;
/** Envoy's longest backoff is ten times the base. */
const maxBackoffFactor = 10;

const conditionName = /^[a-z0-9-]+$/;

/** Splits `503,connect-failure` into conditions and status codes. */
function parseRetryOn(retryOn: string): { conditions: string[]; codes: number[] } {
  const conditions: string[] = [];
  const codes: number[] = [];
  for (const part of retryOn.split(',').map((text) => text.trim())) {
    if (/^[1-5]\d\d$/.test(part)) codes.push(Number(part));
    else if (conditionName.test(part)) conditions.push(part);
  }
  if (codes.length > 0 && !conditions.includes('retriable-status-codes')) {
    conditions.push('retriable-status-codes');
  }
  return { conditions, codes };
}

/**
 * The retry policy of a route; undefined when the rule switches retries off.
 * @param settings `retries` of the rule; absent: the mesh's.
 * @param meshDefault MeshConfig.defaultHttpRetryPolicy.
 * @param sameHostAgain True for hash load balancers, where another host would be the wrong one.
 */
export function retryPolicy(
  settings: HTTPRetry | undefined,
  meshDefault: HTTPRetry | undefined,
  sameHostAgain: boolean,
): RetryPolicy | undefined {
  const chosen = settings ?? meshDefault;
  const attempts = chosen?.attempts ?? (chosen === undefined ? defaultAttempts : 0);
  if (attempts <= 0) return undefined;
  const retryOn = chosen?.retryOn ?? meshDefault?.retryOn ?? '';
  const { conditions, codes } = parseRetryOn(retryOn === '' ? defaultRetryOn : retryOn);
  const perTryTimeout = parseDuration(chosen?.perTryTimeout);
  const backoffBase = parseDuration(chosen?.backoff);
  const policy = create(RetryPolicySchema, {
    retryOn: conditions.join(','),
    numRetries: attempts,
    retriableStatusCodes: codes,
    hostSelectionRetryMaxAttempts: hostSelectionAttempts,
  });
  if (perTryTimeout !== undefined) policy.perTryTimeout = perTryTimeout;
  if (backoffBase !== undefined) {
    const baseMs = Number(backoffBase.seconds) * 1000 + backoffBase.nanos / 1_000_000;
    policy.retryBackOff = {
      $typeName: 'envoy.config.route.v3.RetryPolicy.RetryBackOff',
      baseInterval: backoffBase,
      maxInterval: durationOf(baseMs * maxBackoffFactor),
    };
  }
  if (chosen?.retryIgnorePreviousHosts ?? !sameHostAgain) {
    policy.retryHostPredicate = [
      {
        $typeName: 'envoy.config.route.v3.RetryPolicy.RetryHostPredicate',
        name: retry.previousHosts,
        configType: { case: 'typedConfig', value: any(PreviousHostsPredicateSchema) },
      },
    ];
  }
  if (chosen?.retryRemoteLocalities === true) {
    policy.retryPriority = {
      $typeName: 'envoy.config.route.v3.RetryPolicy.RetryPriority',
      name: retry.previousPriorities,
      configType: {
        case: 'typedConfig',
        value: any(PreviousPrioritiesConfigSchema, { updateFrequency: 2 }),
      },
    };
  }
  return policy;
}

/** Retries of inbound routes: only of requests of which the application has seen nothing. */
export function inboundRetryPolicy(): RetryPolicy {
  return create(RetryPolicySchema, { retryOn: 'reset-before-request', numRetries: 2 });
}
