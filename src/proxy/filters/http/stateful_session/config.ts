/** Extension `envoy.filters.http.stateful_session`. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type StatefulSession,
  StatefulSessionPerRouteSchema,
  StatefulSessionSchema,
} from '#api/gen/envoy/extensions/filters/http/stateful_session/v3/stateful_session_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { Counter } from '#telemetry/metrics.ts';
import type { FactoryContext, HttpFilterExtension } from '../../../factory_context.ts';
import { readSessionState } from './session_state.ts';
import { type SessionPolicy, type SessionStats, StatefulSessionFilter } from './stateful_session.ts';

function readStats(
  prefix: string,
  { metrics }: FactoryContext,
  room: string,
  labels: Readonly<Record<string, string>>,
): SessionStats | undefined {
  if (prefix === '') return undefined;
  const place = `envoy_${room}stateful_session_${prefix.replaceAll(/\W/g, '_')}`;
  const counter = (name: string): Counter => metrics.counter(`${place}_${name}`, labels);
  return {
    routed: counter('routed'),
    failedOpen: counter('failed_open'),
    failedClosed: counter('failed_closed'),
    noSession: counter('no_session'),
  };
}

/** @throws Error for a session state that cannot run. */
export function readPolicy(proto: StatefulSession, stats: SessionStats | undefined): SessionPolicy {
  const missingStatus = proto.statusOnStrictDestinationNotFound || 503;
  if (missingStatus < 200 || missingStatus > 599)
    throw new Error(`status_on_strict_destination_not_found: ${missingStatus} is no status of an answer`);
  return { state: readSessionState(proto.sessionState), strict: proto.strict, missingStatus, stats };
}

const disabled: SessionPolicy = { state: undefined, strict: false, missingStatus: 503, stats: undefined };

export const statefulSession = {
  name: 'envoy.filters.http.stateful_session',
  typeUrls: [typeUrlOf(StatefulSessionSchema), typeUrlOf(StatefulSessionPerRouteSchema)],
  create(config, context, filterName) {
    const proto = fromBinary(StatefulSessionSchema, config.value);
    const labels = { envoy_http_conn_manager_prefix: context.statPrefix ?? '' };
    const policy = readPolicy(proto, readStats(proto.statPrefix, context, 'http_', labels));
    return { createFilter: (callbacks) => new StatefulSessionFilter(callbacks, filterName, policy) };
  },
  createRouteConfig(config, context) {
    const { override } = fromBinary(StatefulSessionPerRouteSchema, config.value);
    if (override.case === 'statefulSession')
      return readPolicy(override.value, readStats(override.value.statPrefix, context, '', {}));
    if (override.case === 'disabled' && override.value) return disabled;
    throw new Error('StatefulSessionPerRoute: neither disabled nor stateful_session');
  },
} as const satisfies HttpFilterExtension;
