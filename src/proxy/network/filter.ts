/** Network filters (envoy.config.listener.v3.Filter): interfaces in Envoy's terms. */
import type { DownstreamConnection, TerminalNetworkFilter } from './connection.ts';

/** What a read filter tells the chain. Numbers, because it is asked for each chunk. */
export const NetworkFilterStatus = { continue: 0, stopIteration: 1 } as const;
export type NetworkFilterStatus = (typeof NetworkFilterStatus)[keyof typeof NetworkFilterStatus];

/** Lets a filter that stopped go on later, or close. */
export interface ReadFilterCallbacks {
  readonly connection: DownstreamConnection;
  /** Resumes at the next filter after `stopIteration`. */
  continueReading(): void;
  /** Ends the connection; `details` becomes `%CONNECTION_TERMINATION_DETAILS%`. */
  close(details: string): void;
}

/**
 * A filter that looks at a new connection, in order, before the terminal filter takes it. It may refuse (close) or wait
 * (stopIteration, later continueReading). It does not see the bytes: those belong to the terminal filter.
 */
export interface NetworkReadFilter {
  onNewConnection(callbacks: ReadFilterCallbacks): NetworkFilterStatus;
  /** Called once when the connection ends. */
  onClose?(): void;
}

/** Made once per filter chain from its typed_config; makes one filter per connection. */
export type NetworkFilterFactory =
  | { readonly terminal: false; create(): NetworkReadFilter }
  | {
      readonly terminal: true;
      /** One instance serves all connections of the chain. */
      readonly filter: TerminalNetworkFilter;
      /** Ends timers and leaves shared things when the chain is dropped; connections that are open go on. */
      close(): void;
    };

export type { TerminalNetworkFilter };
