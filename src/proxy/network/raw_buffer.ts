/** The transport socket that changes nothing (envoy.transport_sockets.raw_buffer), and what stands in when none is set. */
import type { DownstreamTransportSocketFactory, UpstreamTransportSocketFactory } from './transport_socket.ts';

const noProtocols: readonly string[] = [];

export const rawBufferDownstream: DownstreamTransportSocketFactory = {
  secure: false,
  ready: true,
  onReady: (callback) => callback(),
  wrap: (socket, _info, callbacks) => callbacks.onTransportReady(socket, undefined, ''),
  close() {},
};

export const rawBufferUpstream: UpstreamTransportSocketFactory = {
  secure: false,
  ready: true,
  applicationProtocols: noProtocols,
  onReady: (callback) => callback(),
  wrap: (socket, _options, callbacks) => callbacks.onTransportReady(socket, undefined, ''),
  close() {},
};
