/**
 * The record that tcp_proxy keeps of a connection, for network filters that stand in front of it. They see a connection
 * before its record exists and need it while bytes flow.
 */
import type { ConnectionInfo } from '../network/connection.ts';
import { StreamInfo } from './stream_info.ts';

/** Called by tcp_proxy when it takes a connection. Its byte counts, flags and upstream stay up to date while it is open. */
export function setConnectionStream(connection: ConnectionInfo, record: StreamInfo): void {
  connection.record = record;
}

/** Undefined until tcp_proxy has taken the connection. */
export function connectionStream(connection: ConnectionInfo): StreamInfo | undefined {
  return connection.record instanceof StreamInfo ? connection.record : undefined;
}
