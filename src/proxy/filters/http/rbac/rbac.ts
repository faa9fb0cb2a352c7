/** `envoy.filters.http.rbac`: lets requests pass or answers 403. One object per chain serves all its requests. */
import type { RBAC as HttpRbac } from '#api/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts';
import {
  type FilterCallbacks,
  FilterStatus,
  type HttpFilter,
  type HttpFilterFactory,
} from '../../../http/filter.ts';
import { HeaderMap, type RequestHeaderMap } from '../../../http/header_map.ts';
import { accessLogHint, denialDetails, RbacEngine, shadowMetadata } from '../../rbac/engine.ts';
import type { RbacSubject } from '../../rbac/subject.ts';

/** Name in dynamic metadata. */
export const httpRbacName = 'envoy.filters.http.rbac';

/** A compiled configuration: of the filter, or of a route in its place. */
export interface CompiledHttpRbac {
  readonly rules: RbacEngine | undefined;
  readonly shadow: RbacEngine | undefined;
  readonly shadowPrefix: string;
}

/** Throws RbacConfigError for what cannot be run. */
export function compileHttpRbac(config: HttpRbac): CompiledHttpRbac {
  if (config.matcher !== undefined) throw new Error('matcher: is not supported, use rules');
  if (config.shadowMatcher !== undefined)
    throw new Error('shadow_matcher: is not supported, use shadow_rules');
  return {
    rules: config.rules === undefined ? undefined : new RbacEngine(config.rules, 'rules'),
    shadow: config.shadowRules === undefined ? undefined : new RbacEngine(config.shadowRules, 'shadow_rules'),
    shadowPrefix: config.shadowRulesStatPrefix,
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

function runShadow(engine: RbacEngine, prefix: string, callbacks: FilterCallbacks): void {
  const index = engine.find(subject);
  callbacks.streamInfo.setDynamicMetadata(
    httpRbacName,
    shadowMetadata(prefix, engine.nameOf(index), engine.allows(index)),
  );
}

/** True when the request may pass; answers it otherwise. */
function runRules(engine: RbacEngine, callbacks: FilterCallbacks): boolean {
  const index = engine.find(subject);
  if (engine.logs)
    callbacks.streamInfo.setDynamicMetadata(accessLogHint.filter, { [accessLogHint.key]: index >= 0 });
  if (engine.allows(index)) return true;
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
  readonly #config: CompiledHttpRbac;
  readonly #name: string;

  constructor(callbacks: FilterCallbacks, config: CompiledHttpRbac, name: string) {
    this.#callbacks = callbacks;
    this.#config = config;
    this.#name = name;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const callbacks = this.#callbacks;
    const override = callbacks.route()?.perFilterConfig(this.#name) as CompiledHttpRbac | undefined;
    const { rules, shadow, shadowPrefix } = override ?? this.#config;
    if (rules === undefined && shadow === undefined) return FilterStatus.continue;
    const info = callbacks.streamInfo;
    subject.connection = info.connection;
    subject.headers = headers;
    subject.path = headers.path;
    subject.streamInfo = info;
    subject.callbacks = callbacks;
    if (shadow !== undefined) runShadow(shadow, shadowPrefix, callbacks);
    if (rules === undefined || runRules(rules, callbacks)) return FilterStatus.continue;
    return FilterStatus.stopIteration;
  }
}

/**
 * The filter of one chain.
 * @param name of the filter in the chain, under which routes override it
 */
export function createHttpRbac(config: CompiledHttpRbac, name: string): HttpFilterFactory {
  return { createFilter: (callbacks) => new RbacFilter(callbacks, config, name) };
}
