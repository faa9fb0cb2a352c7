/** The TypeScript data plane in this process: the only place where the agent knows the proxy. */
import type { Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import type { Logger } from '#base/log.ts';
import type { MetricsSnapshot } from '#telemetry/metrics.ts';
import type { AdsTransport } from '#xds/transport.ts';
import type { DataPlane, DataPlaneExit } from './data_plane.ts';

/** What the proxy offers. */
interface ProxyHandle {
  ready(): boolean;
  stats(): Promise<MetricsSnapshot>;
  drain(): Promise<void>;
  close(): Promise<void>;
  /** Resolves when the proxy has ended by itself. */
  readonly onExit?: Promise<DataPlaneExit | undefined>;
}

interface ProxyModule {
  startProxy(options: {
    bootstrap: Bootstrap;
    /** Stands for connections to these static clusters. */
    transports: ReadonlyMap<string, AdsTransport>;
    concurrency: number;
    log: Logger;
  }): Promise<ProxyHandle>;
}

export interface BuiltInOptions {
  readonly bootstrap: Bootstrap;
  readonly transports: ReadonlyMap<string, AdsTransport>;
  readonly concurrency: number;
  readonly log: Logger;
}

/** Starts the proxy. Its code is loaded here and not before: an agent with Envoy must not pay for it. */
export async function startBuiltIn(options: BuiltInOptions): Promise<DataPlane> {
  const specifier = '#proxy/server/main.ts';
  const { startProxy } = (await import(specifier)) as ProxyModule;
  const proxy = await startProxy(options);
  let end: (exit: DataPlaneExit) => void = () => {};
  const exited = new Promise<DataPlaneExit>((resolve) => {
    end = resolve;
  });
  void proxy.onExit?.then(
    (exit) => end(exit ?? {}),
    (error: unknown) => end({ error: error instanceof Error ? error : new Error(String(error)) }),
  );
  return {
    exited,
    notReady: async () => (proxy.ready() ? undefined : 'the proxy has not started its workers'),
    stats: async () => ({ kind: 'snapshot', snapshot: await proxy.stats() }),
    activeConnections: async () => countConnections(await proxy.stats()),
    drain: () => proxy.drain(),
    async close() {
      await proxy.close();
      end({});
    },
  };
}

/** Sum of `envoy_listener_downstream_cx_active`; undefined when the proxy does not say. */
function countConnections(snapshot: MetricsSnapshot): number | undefined {
  const family = snapshot.find(({ name }) => name.endsWith('listener_downstream_cx_active'));
  return family?.series.reduce((sum, { value }) => sum + value, 0);
}
