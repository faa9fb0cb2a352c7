/** Fixtures of this room's tests: a registry of test filters and a context that logs nothing. */
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { EchoSchema } from '#api/gen/envoy/extensions/filters/network/echo/v3/echo_pb.ts';
import { silentLogger } from '#base/log.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { FactoryContext, NetworkFilterExtension } from '../factory_context.ts';
import type { DownstreamConnection } from '../network/connection.ts';
import { newOverloadState } from '../network/overload_state.ts';
import { RuntimeValues } from '../network/runtime.ts';
import { LocalCounts } from '../network/shared_counts.ts';
import { type ExtensionFactory, type ExtensionKind, ExtensionRegistry } from '../registry.ts';

export const echoAny = anyPack(EchoSchema, create(EchoSchema));

/** A terminal filter that hands connections to a function. */
export function terminalExtension(
  onConnection: (connection: DownstreamConnection, instance: number) => void,
): NetworkFilterExtension & { closed: number } {
  let instances = 0;
  const extension = {
    name: 'envoy.filters.network.echo',
    typeUrls: [echoAny.typeUrl],
    closed: 0,
    create() {
      const instance = ++instances;
      return {
        terminal: true as const,
        filter: { onConnection: (connection: DownstreamConnection) => onConnection(connection, instance) },
        close() {
          extension.closed++;
        },
      };
    },
  };
  return extension;
}

export function testContext(
  lists: Partial<Record<ExtensionKind, readonly ExtensionFactory[]>>,
  more: Partial<FactoryContext> = {},
): FactoryContext {
  return {
    registry: new ExtensionRegistry(lists),
    clusterManager: { get: () => undefined },
    metrics: new MetricsRegistry(),
    node: create(NodeSchema),
    log: silentLogger,
    direction: 'unspecified',
    accessLoggers: () => [],
    routeConfig() {
      throw new Error('no routes in this test');
    },
    counts: new LocalCounts(),
    overload: newOverloadState(),
    runtime: new RuntimeValues(),
    random: Math.random,
    ...more,
  };
}
