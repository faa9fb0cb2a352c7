/**
 * What the overload manager asks of this worker (envoy.config.overload.v3.OverloadManager actions). Written by `server/`,
 * read by listeners and connection managers; each field is how far its action is on, from 0 (off) to 1 (saturated).
 */
export interface OverloadState {
  /** New requests are answered 503, with this probability. */
  stopAcceptingRequests: number;
  /** Responses end HTTP/1 connections and drain HTTP/2 ones, with this probability. */
  disableHttpKeepalive: number;
  /** New connections are closed as soon as they are accepted, with this probability. */
  rejectIncomingConnections: number;
  /** Factor on idle and header timeouts of connections: 1 keeps them. */
  timeoutFactor: number;
}

/** Nothing is asked. */
export function newOverloadState(): OverloadState {
  return {
    stopAcceptingRequests: 0,
    disableHttpKeepalive: 0,
    rejectIncomingConnections: 0,
    timeoutFactor: 1,
  };
}
