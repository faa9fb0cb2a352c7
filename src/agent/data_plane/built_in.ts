/** The TypeScript data plane in this process: the only place where the agent knows the proxy. */
import type { Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import type { Logger } from '#base/log.ts';
import type { AdsTransport } from '#xds/transport.ts';
import type { DataPlane, DataPlaneExit } from './data_plane.ts';

export interface BuiltInOptions {
  readonly bootstrap: Bootstrap;
  /** Stand for gRPC connections to the static clusters of these names. */
  readonly transports: ReadonlyMap<string, AdsTransport>;
  /** Worker threads, at least 1. */
  readonly concurrency: number;
  /** How long connections of removed listeners may go on, milliseconds. */
  readonly drainDurationMs: number;
  /** `%ENVIRONMENT(name)%` of access logs. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly log: Logger;
}

/** Starts the proxy. Its code is loaded here and not before: an agent with Envoy must not pay for it. */
export async function startBuiltIn(options: BuiltInOptions): Promise<DataPlane> {
  const { drainDurationMs, ...rest } = options;
  const { startProxy } = await import('#proxy/server/main.ts');
  const proxy = await startProxy({
    ...rest,
    drainTimeMs: drainDurationMs,
    // docs/decisions/0005-memory-of-a-sidecar.md
    inline: rest.concurrency === 1,
  });
  return {
    exited: proxy.onExit.then((exit): DataPlaneExit =>
      exit?.error === undefined ? {} : { error: exit.error },
    ),
    notReady: async () => (proxy.ready() ? undefined : proxy.readyReason()),
    stats: async () => ({ kind: 'snapshot', snapshot: await proxy.stats() }),
    activeConnections: () => proxy.activeConnections(),
    drain: () => proxy.drain(),
    close: () => proxy.close(),
  };
}
