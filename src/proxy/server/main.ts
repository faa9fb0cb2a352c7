/**
 * The proxy: this thread holds the bootstrap, discovery, admin and metrics; worker threads hold the data plane. Both the
 * agent and `trysail proxy` start it here.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { BootstrapSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { AdminState } from './admin_state.ts';
import type { ProxyHandle, ProxyOptions } from './proxy_handle.ts';
import { ProxyServer } from './proxy_server.ts';

/** Resolves when static resources are live; rejects with an Error that names what is bad in the bootstrap. */
export async function startProxy(options: ProxyOptions): Promise<ProxyHandle> {
  const { bootstrap } = options;
  const server = new ProxyServer(
    options,
    bootstrap instanceof Uint8Array ? fromBinary(BootstrapSchema, bootstrap) : bootstrap,
    bootstrap instanceof Uint8Array ? bootstrap : toBinary(BootstrapSchema, bootstrap),
  );
  await server.start(new AdminState(server));
  return server;
}
