/** The record of an accepted connection. */
import type { Socket } from 'node:net';
import { type Address, unmapIpv4 } from './address.ts';
import type { ConnectionInfo, TlsInfo } from './connection.ts';

let lastId = 0;

/** Ids of connections of this worker, downstream and upstream alike; from 1. */
export function nextConnectionId(): number {
  return ++lastId;
}

const noProtocols: readonly string[] = [];

/** A plain object of fixed shape: one per connection, fields are filled by listener filters and transport sockets. */
export class AcceptedConnectionInfo implements ConnectionInfo {
  readonly id: number = nextConnectionId();
  readonly startTimeMs: number = Date.now();
  localAddress: Address;
  readonly directLocalAddress: Address;
  remoteAddress: Address;
  readonly directRemoteAddress: Address;
  localAddressRestored = false;
  requestedServerName = '';
  applicationProtocols: readonly string[] = noProtocols;
  transportProtocol: 'raw_buffer' | 'tls' = 'raw_buffer';
  negotiatedProtocol = '';
  tls: TlsInfo | undefined = undefined;
  filterChainName = '';
  dynamicMetadata: Map<string, Record<string, unknown>> | undefined = undefined;
  terminationDetails = '';
  transportFailureReason = '';
  proxyProtocol: ConnectionInfo['proxyProtocol'] = undefined;
  upstreamSource: ConnectionInfo['upstreamSource'] = undefined;
  record: object | undefined = undefined;

  constructor(local: Address, remote: Address) {
    this.localAddress = local;
    this.directLocalAddress = local;
    this.remoteAddress = remote;
    this.directRemoteAddress = remote;
  }
}

/**
 * Reads both addresses of an accepted socket. Undefined when the peer has already reset it.
 * @param pipePath path of the Unix socket that accepted it; undefined for TCP.
 */
export function createConnectionInfo(
  socket: Socket,
  pipePath: string | undefined,
): AcceptedConnectionInfo | undefined {
  if (pipePath !== undefined)
    return new AcceptedConnectionInfo({ ip: pipePath, port: -1 }, { ip: '', port: -1 });
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (localAddress === undefined || remoteAddress === undefined) return undefined;
  return new AcceptedConnectionInfo(
    { ip: unmapIpv4(localAddress), port: localPort ?? 0 },
    { ip: unmapIpv4(remoteAddress), port: remotePort ?? 0 },
  );
}
