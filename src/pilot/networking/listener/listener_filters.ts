/** Listener filters: what is learnt of a connection before a filter chain is chosen. */
import { create } from '@bufbuild/protobuf';
import {
  type ListenerFilter,
  type ListenerFilterChainMatchPredicate,
  ListenerFilterChainMatchPredicateSchema,
  ListenerFilterSchema,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import { HttpInspectorSchema } from '#api/gen/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.ts';
import { OriginalDstSchema } from '#api/gen/envoy/extensions/filters/listener/original_dst/v3/original_dst_pb.ts';
import { TlsInspectorSchema } from '#api/gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts';
import { listenerFilter } from '#api/well_known.ts';
import { any } from '../wire.ts';

/** Connections to these destination ports; undefined when there are none. */
function onPorts(ports: readonly number[]): ListenerFilterChainMatchPredicate | undefined {
  const rules = [...new Set(ports)]
    .sort((a, b) => a - b)
    .map((port) =>
      create(ListenerFilterChainMatchPredicateSchema, {
        rule: { case: 'destinationPortRange', value: { start: port, end: port + 1 } },
      }),
    );
  if (rules.length <= 1) return rules[0];
  return create(ListenerFilterChainMatchPredicateSchema, { rule: { case: 'orMatch', value: { rules } } });
}

/** Finds the address that a captured connection was going to. */
export function originalDst(): ListenerFilter {
  return create(ListenerFilterSchema, {
    name: listenerFilter.originalDst,
    configType: { case: 'typedConfig', value: any(OriginalDstSchema) },
  });
}

/**
 * Tells TLS from plain text, and reads server name and ALPN.
 * @param exceptPorts Destination ports where it must not wait for bytes.
 */
export function tlsInspector(exceptPorts: readonly number[] = []): ListenerFilter {
  const filterDisabled = onPorts(exceptPorts);
  return create(ListenerFilterSchema, {
    name: listenerFilter.tlsInspector,
    configType: { case: 'typedConfig', value: any(TlsInspectorSchema) },
    ...(filterDisabled === undefined ? {} : { filterDisabled }),
  });
}

/** Tells HTTP from other plain text. */
export function httpInspector(exceptPorts: readonly number[] = []): ListenerFilter {
  const filterDisabled = onPorts(exceptPorts);
  return create(ListenerFilterSchema, {
    name: listenerFilter.httpInspector,
    configType: { case: 'typedConfig', value: any(HttpInspectorSchema) },
    ...(filterDisabled === undefined ? {} : { filterDisabled }),
  });
}
