/**
 * Carries facts of the connection into handlers of connect-node: pass `connectionContextValues` as `contextValues` of
 * the adapter, read `authenticationRequestOf(context)` in a handler.
 */
import {
  createContextKey,
  createContextValues,
  type ContextValues,
  type HandlerContext,
} from '@connectrpc/connect';
import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { readConnectionInfo, type AuthenticationRequest, type ConnectionInfo } from './authenticator.ts';

const noConnection: ConnectionInfo = {
  encrypted: false,
  remoteAddress: '',
  peerIntermediates: [],
  peerAuthorized: false,
};

const connectionKey = createContextKey<ConnectionInfo>(noConnection, {
  description: 'connection of the request',
});

/** Context values of one request. */
export function connectionContextValues(request: IncomingMessage | Http2ServerRequest): ContextValues {
  const socket = 'stream' in request ? request.stream.session?.socket : request.socket;
  return createContextValues().set(
    connectionKey,
    socket === undefined ? noConnection : readConnectionInfo(socket),
  );
}

/** The request of a handler as authenticators see it. */
export function authenticationRequestOf(
  context: Pick<HandlerContext, 'values' | 'requestHeader'>,
): AuthenticationRequest {
  return {
    header: (name) => context.requestHeader.get(name) ?? undefined,
    connection: context.values.get(connectionKey),
  };
}
