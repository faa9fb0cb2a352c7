/**
 * Stands between the proxy and the control plane: takes the proxy's xDS streams (in memory or on a Unix socket), opens
 * one stream behind each, and keeps the proxy's stream open while the one behind it is made anew. Types that the agent
 * itself consumes ride on the same stream.
 */
import { Backoff } from '#base/backoff.ts';
import type { Logger } from '#base/log.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type {
  AdsAcceptor,
  AdsStream,
  AdsTransport,
  RequestOf,
  ResponseOf,
  StreamHandler,
  XdsProtocol,
} from '#xds/transport.ts';
import { typeUrls } from '#xds/type_url.ts';
import { DeltaRelayState } from './delta_state.ts';
import { RelayStream, type Interceptor, type RelayEvents } from './relay_stream.ts';
import type { RelayState } from './relay_state.ts';
import { SotwRelayState } from './sotw_state.ts';

export interface XdsRelayOptions {
  /** To the control plane. */
  readonly upstream: AdsTransport;
  /** Consumers of the agent's own types, by type URL. */
  readonly interceptors?: ReadonlyMap<string, Interceptor>;
  readonly metrics: MetricsRegistry;
  readonly log: Logger;
  /** Makes the waits between two streams to the control plane. Default 250 ms doubling to 15 s. */
  readonly backoff?: () => Backoff;
}

const states: { readonly [P in XdsProtocol]: () => RelayState<P> } = {
  sotw: () => new SotwRelayState(),
  delta: () => new DeltaRelayState(),
};

/** The relay: hand it as acceptor to a memory transport or a gRPC server. */
export class XdsRelay implements AdsAcceptor {
  readonly #options: XdsRelayOptions;
  readonly #streams = new Set<{ close(): void }>();
  readonly #accepted = new Set<string>();
  readonly #refused = new Map<string, string>();
  readonly #events: RelayEvents;
  #lastError: string | undefined = 'not connected yet';

  constructor(options: XdsRelayOptions) {
    this.#options = options;
    this.#events = this.#countingEvents(options.metrics);
  }

  accept<P extends XdsProtocol>(protocol: P, stream: AdsStream<ResponseOf[P]>): StreamHandler<RequestOf[P]> {
    const { upstream, interceptors, log, backoff } = this.#options;
    const context = {
      upstream,
      interceptors: interceptors ?? new Map<string, Interceptor>(),
      events: this.#events,
      backoff: backoff?.() ?? new Backoff({ baseMs: 250, maxMs: 15_000 }),
      log: log.scope('xdsproxy'),
    };
    const relayed = new RelayStream(protocol, states[protocol](), stream, context, () => {
      this.#streams.delete(relayed);
    });
    this.#streams.add(relayed);
    return relayed;
  }

  /** Undefined once the proxy has accepted listeners and clusters, else what is missing. */
  notReady(): string | undefined {
    const missing = (['cds', 'lds'] as const).filter((type) => !this.#accepted.has(typeUrls[type]));
    if (missing.length === 0) return undefined;
    const details = missing.map((type) => {
      const refused = this.#refused.get(typeUrls[type]);
      return `${type}: ${refused === undefined ? 'none accepted yet' : `refused, ${refused}`}`;
    });
    const connection = this.#lastError === undefined ? '' : ` (control plane: ${this.#lastError})`;
    return `config not received from XDS server: ${details.join(', ')}${connection}`;
  }

  /** Ends all streams; the transport to the control plane is the caller's. */
  close(): void {
    for (const stream of this.#streams) stream.close();
  }

  #countingEvents(metrics: MetricsRegistry): RelayEvents {
    const counter = (name: string, help: string) => metrics.counter(`istio_agent_${name}`, {}, help);
    const requests = counter('xds_proxy_requests', 'Requests of the proxy that were relayed.');
    const responses = counter('xds_proxy_responses', 'Responses of the control plane.');
    const failures = counter(
      'istiod_connection_failures',
      'Streams to the control plane that never answered.',
    );
    const disconnections = counter('istiod_disconnections', 'Streams to the control plane that were lost.');
    const connected = metrics.gauge('istio_agent_istiod_connected', {}, '1 while the control plane answers.');
    return {
      onUpstream: (state, error) => {
        if (state === 'open') return;
        if (state === 'responding') {
          connected.set(1);
          this.#lastError = undefined;
          return;
        }
        if (connected.value === 1) disconnections.inc();
        else failures.inc();
        connected.set(0);
        this.#lastError = error === undefined ? 'the stream was ended' : `${error.status}: ${error.message}`;
      },
      onRequest: () => requests.inc(),
      onResponse: () => responses.inc(),
      onAck: (typeUrl) => {
        this.#accepted.add(typeUrl);
        this.#refused.delete(typeUrl);
      },
      onNack: (typeUrl, detail) => this.#refused.set(typeUrl, detail.slice(0, 500)),
    };
  }
}
