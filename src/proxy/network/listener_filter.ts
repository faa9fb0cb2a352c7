/** Listener filters (envoy.config.listener.v3.ListenerFilter): they look at a new connection before a chain is chosen. */
import type { Socket } from 'node:net';
import type { ConnectionInfo } from './connection.ts';

/** What a listener filter tells the listener. */
export const ListenerFilterStatus = {
  /** Done: go on with the next filter. */
  continue: 0,
  /** `onData` wants to see more bytes. */
  moreData: 1,
  /** Refuse the connection. */
  close: 2,
} as const;
export type ListenerFilterStatus = (typeof ListenerFilterStatus)[keyof typeof ListenerFilterStatus];

/**
 * One filter of one connection. Bytes are peeked: each call of `onData` gets everything seen so far, and all of it is
 * put back on the socket before the chain starts, except what `consumed` claims.
 */
export interface ListenerFilter {
  /** Most bytes it wants to see, 0 when it needs none. `onData` is called with at most this many. */
  readonly maxReadBytes: number;
  /** Bytes at the front that the filter takes out of the stream; read once after `continue`. */
  readonly consumed: number;
  /** Called once; `moreData` asks for bytes. */
  onAccept(socket: Socket, info: ConnectionInfo): ListenerFilterStatus;
  /**
   * `data` holds all bytes from the start, at most `maxReadBytes`; `ended` is true when no more will come (the peer
   * shut down its side, or `maxReadBytes` is reached). Undefined for filters that never answer `moreData`.
   */
  onData?(data: Buffer, ended: boolean, info: ConnectionInfo): ListenerFilterStatus;
}

/** Made once per listener; makes one filter per connection, or gives the same object when it keeps no state. */
export interface ListenerFilterFactory {
  createFilter(): ListenerFilter;
}
