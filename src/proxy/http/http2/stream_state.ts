/**
 * The states of a stream (RFC 9113 5.1). Push is never enabled, so the reserved states do not exist here.
 *
 *                    send H / recv H
 *             idle ------------------> open
 *                                    /      \
 *                          recv ES  /        \  send ES
 *                                  v          v
 *                 half closed (remote)      half closed (local)
 *                                  \          /
 *              send ES, send/recv R \        / recv ES, send/recv R
 *                                    v      v
 *                                     closed
 *
 * H: HEADERS, ES: the flag END_STREAM, R: RST_STREAM.
 */
export const StreamState = {
  idle: 0,
  open: 1,
  /** We have ended our side. */
  halfClosedLocal: 2,
  /** The peer has ended its side. */
  halfClosedRemote: 3,
  closed: 4,
} as const;
export type StreamState = (typeof StreamState)[keyof typeof StreamState];

export const StreamEvent = { headers: 0, sendEnd: 1, receiveEnd: 2, reset: 3 } as const;
export type StreamEvent = (typeof StreamEvent)[keyof typeof StreamEvent];

const { idle, open, halfClosedLocal, halfClosedRemote, closed } = StreamState;

/** By state, then event. Events that a state does not know leave it as it is: callers have checked. */
const transitions: readonly (readonly StreamState[])[] = [
  [open, idle, idle, closed],
  [open, halfClosedLocal, halfClosedRemote, closed],
  [halfClosedLocal, halfClosedLocal, closed, closed],
  [halfClosedRemote, closed, halfClosedRemote, closed],
  [closed, closed, closed, closed],
];

export function nextState(state: StreamState, event: StreamEvent): StreamState {
  return (transitions[state] as readonly StreamState[])[event] as StreamState;
}

/** The peer may still send HEADERS and DATA. */
export function canReceive(state: StreamState): boolean {
  return state === open || state === halfClosedLocal;
}

/** We may still send HEADERS and DATA. */
export function canSend(state: StreamState): boolean {
  return state === open || state === halfClosedRemote;
}
