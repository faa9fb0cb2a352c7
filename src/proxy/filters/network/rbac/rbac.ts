/** `envoy.filters.network.rbac`: closes connections that rules do not let pass. */
import {
  type RBAC as NetworkRbac,
  RBAC_EnforcementType,
} from '#api/gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import { durationMs } from '../../../network/duration.ts';
import {
  type NetworkFilterFactory,
  NetworkFilterStatus,
  type NetworkReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/filter.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import { denialDetails, RbacEngine } from '../../rbac/engine.ts';
import type { RbacCounts } from '../../rbac/stats.ts';
import type { RbacSubject } from '../../rbac/subject.ts';

/** Envoy's name of the filter, and its key in dynamic metadata. */
export const networkRbacName = 'envoy.filters.network.rbac';

/** A compiled configuration. */
export interface CompiledNetworkRbac {
  readonly rules: RbacEngine | undefined;
  readonly shadow: RbacEngine | undefined;
  /** `shadow_rules_stat_prefix` with the word that follows in dynamic metadata. */
  readonly shadowPrefix: string;
  /** How long a denied connection is kept, so that hasty clients do not come back at once, milliseconds. */
  readonly delayDenyMs: number;
}

/** A configuration with its counters. */
export interface NetworkRbacShared extends CompiledNetworkRbac {
  readonly counts: RbacCounts;
  readonly shadowCounts: RbacCounts;
}

/** Throws Error for what cannot be run. */
export function compileNetworkRbac(config: NetworkRbac): CompiledNetworkRbac {
  if (config.matcher !== undefined) throw new Error('matcher: is not supported, use rules');
  if (config.shadowMatcher !== undefined)
    throw new Error('shadow_matcher: is not supported, use shadow_rules');
  // Rules of a connection ask for nothing that its bytes could change, unless protocol filters stand in front.
  if (config.enforcementType === RBAC_EnforcementType.CONTINUOUS)
    throw new Error('enforcement_type: CONTINUOUS is not supported');
  return {
    rules: config.rules === undefined ? undefined : new RbacEngine(config.rules, 'rules'),
    shadow: config.shadowRules === undefined ? undefined : new RbacEngine(config.shadowRules, 'shadow_rules'),
    shadowPrefix: `${config.shadowRulesStatPrefix}shadow_`,
    delayDenyMs: durationMs(config.delayDeny) ?? 0,
  };
}

const noHeaders = new HeaderMap();

function setMetadata(info: ConnectionInfo, values: Readonly<Record<string, unknown>>): void {
  info.dynamicMetadata ??= new Map();
  info.dynamicMetadata.set(networkRbacName, { ...info.dynamicMetadata.get(networkRbacName), ...values });
}

class NetworkRbacFilter implements NetworkReadFilter {
  readonly #config: NetworkRbacShared;
  #delay: TimerHandle | undefined = undefined;

  constructor(config: NetworkRbacShared) {
    this.#config = config;
  }

  onNewConnection(callbacks: ReadFilterCallbacks): NetworkFilterStatus {
    const { rules, shadow, shadowPrefix, delayDenyMs, counts, shadowCounts } = this.#config;
    const { info } = callbacks.connection;
    const subject: RbacSubject = {
      connection: info,
      headers: noHeaders,
      path: undefined,
      streamInfo: undefined,
      callbacks: undefined,
    };
    if (shadow !== undefined) {
      const index = shadow.find(subject);
      shadowCounts.count(shadow, index);
      setMetadata(info, shadow.metadataOf(shadowPrefix, index));
    }
    if (rules === undefined) return NetworkFilterStatus.continue;
    const index = rules.find(subject);
    if (counts.count(rules, index)) return NetworkFilterStatus.continue;
    const details = denialDetails(rules.nameOf(index));
    if (delayDenyMs > 0) this.#delay = workerTimers.schedule(delayDenyMs, () => callbacks.close(details));
    else callbacks.close(details);
    return NetworkFilterStatus.stopIteration;
  }

  onClose(): void {
    workerTimers.cancel(this.#delay);
  }
}

export function createNetworkRbac(config: NetworkRbacShared): NetworkFilterFactory {
  return { terminal: false, create: () => new NetworkRbacFilter(config) };
}
