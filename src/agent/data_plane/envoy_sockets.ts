/** The Unix sockets through which an Envoy process reaches the agent. Loaded only when Envoy runs. */
import { chmod, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from '#base/log.ts';
import { registerAds, registerSds } from '#xds/server/discovery_services.ts';
import { GrpcServer } from '#xds/server/grpc_server.ts';
import type { AdsAcceptor } from '#xds/transport.ts';
import { maxSocketPathBytes, sdsSocketPath, xdsSocketPath } from '../sockets.ts';

async function listen(path: string, server: GrpcServer): Promise<void> {
  if (Buffer.byteLength(path) > maxSocketPathBytes) {
    throw new Error(`${path}: longer than ${maxSocketPathBytes} bytes, too long for a Unix socket`);
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await server.listen({ path });
  // The secrets of the pod are behind it.
  await chmod(path, 0o600);
}

/** Opens both sockets; the result closes them. */
export async function openEnvoySockets(options: {
  readonly runDirectory: string;
  readonly sds: AdsAcceptor;
  readonly xds: AdsAcceptor;
  readonly log: Logger;
}): Promise<() => Promise<void>> {
  const { sds, xds, log } = options;
  const sdsServer = new GrpcServer({ routes: (router) => registerSds(router, sds), log });
  const xdsServer = new GrpcServer({ routes: (router) => registerAds(router, xds), log });
  await listen(sdsSocketPath(options.runDirectory), sdsServer);
  await listen(xdsSocketPath(options.runDirectory), xdsServer);
  return async () => {
    await Promise.all([sdsServer.close(), xdsServer.close()]);
  };
}
