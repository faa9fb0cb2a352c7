/** `envoy.filters.http.rbac`: lets requests pass or answers 403. One object per chain serves all its requests. */
import type { RBAC as HttpRbac } from '#api/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts';
import {
  type FilterCallbacks,
  FilterStatus,
  type HttpFilter,
  type HttpFilterFactory,
} from '../../../http/filter.ts';
import { HeaderMap, type RequestHeaderMap } from '../../../http/header_map.ts';
import { accessLogHint, denialDetails, RbacEngine } from '../../rbac/engine.ts';
import type { RbacCounts } from '../../rbac/stats.ts';
import type { RbacSubject } from '../../rbac/subject.ts';

/** Name in dynamic metadata. */
export const httpRbacName = 'envoy.filters.http.rbac';

/** A compiled configuration: of the filter, or of a route in its place. */
export interface CompiledHttpRbac {
  readonly rules: RbacEngine | undefined;
  readonly shadow: RbacEngine | undefined;
  /** `track_per_rule_stats`: counters for each policy. */
  readonly perPolicy: boolean;
}

/** What comes from the filter alone, whatever rules a route has. */
export interface HttpRbacShared {
  readonly config: CompiledHttpRbac;
  /** Name in the chain, under which routes override the rules. */
  readonly filterName: string;
  /** `rules_stat_prefix` and `shadow_rules_stat_prefix` with the word that follows in dynamic metadata. */
  readonly enforcedPrefix: string;
  readonly shadowPrefix: string;
  readonly counts: RbacCounts;
  readonly shadowCounts: RbacCounts;
}

/** Throws RbacConfigError for what cannot be run. */
export function compileHttpRbac(config: HttpRbac): CompiledHttpRbac {
  if (config.matcher !== undefined) throw new Error('matcher: is not supported, use rules');
  if (config.shadowMatcher !== undefined)
    throw new Error('shadow_matcher: is not supported, use shadow_rules');
  return {
    rules: config.rules === undefined ? undefined : new RbacEngine(config.rules, 'rules'),
    shadow: config.shadowRules === undefined ? undefined : new RbacEngine(config.shadowRules, 'shadow_rules'),
    perPolicy: config.trackPerRuleStats,
  };
}

const noHeaders = new HeaderMap();

/** The question of the moment: evaluation is synchronous and keeps nothing. */
const subject: RbacSubject = {
  connection: undefined as never,
  headers: noHeaders,
  path: undefined,
  streamInfo: undefined,
  callbacks: undefined,
};

function runShadow(engine: RbacEngine, shared: HttpRbacShared, perPolicy: boolean): void {
  const index = engine.find(subject);
  const allowed = shared.shadowCounts.count(engine, index);
  if (perPolicy) shared.shadowCounts.countPolicy(engine.nameOf(index), allowed);
  subject.streamInfo?.setDynamicMetadata(httpRbacName, engine.metadataOf(shared.shadowPrefix, index));
}

/** True when the request may pass; answers it otherwise. */
function runRules(
  engine: RbacEngine,
  callbacks: FilterCallbacks,
  shared: HttpRbacShared,
  perPolicy: boolean,
): boolean {
  const index = engine.find(subject);
  const allowed = shared.counts.count(engine, index);
  if (perPolicy) shared.counts.countPolicy(engine.nameOf(index), allowed);
  if (engine.logs)
    callbacks.streamInfo.setDynamicMetadata(accessLogHint.filter, { [accessLogHint.key]: index >= 0 });
  callbacks.streamInfo.setDynamicMetadata(httpRbacName, engine.metadataOf(shared.enforcedPrefix, index));
  if (allowed) return true;
  callbacks.sendLocalReply({
    status: 403,
    body: 'RBAC: access denied',
    details: denialDetails(engine.nameOf(index)),
    flags: 0,
  });
  return false;
}

class RbacFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: HttpRbacShared;

  constructor(callbacks: FilterCallbacks, shared: HttpRbacShared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const callbacks = this.#callbacks;
    const shared = this.#shared;
    const override = callbacks.route()?.perFilterConfig(shared.filterName) as CompiledHttpRbac | undefined;
    const { rules, shadow, perPolicy } = override ?? shared.config;
    if (rules === undefined && shadow === undefined) return FilterStatus.continue;
    const info = callbacks.streamInfo;
    subject.connection = info.connection;
    subject.headers = headers;
    subject.path = headers.path;
    subject.streamInfo = info;
    subject.callbacks = callbacks;
    if (shadow !== undefined) runShadow(shadow, shared, perPolicy);
    if (rules === undefined || runRules(rules, callbacks, shared, perPolicy)) return FilterStatus.continue;
    return FilterStatus.stopIteration;
  }
}

/** The filter of one chain. */
export function createHttpRbac(shared: HttpRbacShared): HttpFilterFactory {
  return { createFilter: (callbacks) => new RbacFilter(callbacks, shared) };
}
