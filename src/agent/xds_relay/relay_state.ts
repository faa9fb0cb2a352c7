/**
 * What the relay remembers of one proxy's stream, so that a new stream to the control plane goes on where the old one
 * broke. One implementation per variant of the protocol.
 */
import type { RequestOf, ResponseOf, XdsProtocol } from '#xds/transport.ts';

/** What a request means. */
export type Answer = 'none' | 'ack' | 'nack';

/** What the relay does with a request of the proxy. */
export interface Tracked<P extends XdsProtocol> {
  /** Goes to the control plane while a stream is open; undefined when it says nothing that the next one lacks. */
  readonly forward: RequestOf[P] | undefined;
  readonly answer: Answer;
}

/** Memory of one proxy's stream. */
export interface RelayState<P extends XdsProtocol> {
  /** Takes in a request of the proxy (or of the agent for its own types). */
  track(request: RequestOf[P]): Tracked<P>;
  /** Takes in a response of the control plane, before it goes to the proxy. */
  onResponse(response: ResponseOf[P]): void;
  /** The stream to the control plane has ended: nonces of it mean nothing on the next one. */
  onUpstreamLost(): void;
  /** Requests that bring a new stream to the state of the old one, with the versions that the proxy has accepted. */
  resume(): RequestOf[P][];
  /** A request for all resources of a type that the agent itself consumes. */
  subscribeAll(typeUrl: string): RequestOf[P];
  /** The answer to a response of such a type; with error a refusal. */
  answer(response: ResponseOf[P], error: string | undefined): RequestOf[P];
}

/** Most types on one stream; more are not relayed. */
export const maxTypes = 64;

/** Most responses of one type that wait for the proxy's answer. */
export const maxUnanswered = 256;
