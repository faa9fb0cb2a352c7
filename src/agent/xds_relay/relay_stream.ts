/** One proxy's stream and the stream to the control plane that stands behind it. */
import type { Backoff } from '#base/backoff.ts';
import type { Logger } from '#base/log.ts';
import type { GrpcError } from '#xds/grpc_status.ts';
import type {
  AdsStream,
  AdsTransport,
  RequestOf,
  ResponseOf,
  StreamHandler,
  XdsProtocol,
} from '#xds/transport.ts';
import { shortTypeName } from '#xds/type_url.ts';
import type { RelayState } from './relay_state.ts';

/** Bytes of the resources of a response: what an interceptor gets. */
export type ResourceBytes = readonly Uint8Array[];

/** Takes all resources of one type; throws to refuse them. */
export type Interceptor = (resources: ResourceBytes) => void;

/** What happens on streams. */
export interface RelayEvents {
  onUpstream(state: 'open' | 'responding' | 'lost', error?: GrpcError): void;
  onRequest(typeUrl: string): void;
  onResponse(typeUrl: string): void;
  onAck(typeUrl: string): void;
  onNack(typeUrl: string, detail: string): void;
}

/** What a stream needs of the relay. */
export interface RelayContext {
  readonly upstream: AdsTransport;
  readonly interceptors: ReadonlyMap<string, Interceptor>;
  readonly events: RelayEvents;
  readonly backoff: Backoff;
  readonly log: Logger;
}

/** Messages of the variants as far as the stream itself reads them. */
type AnyRequest = {
  readonly typeUrl: string;
  readonly errorDetail?: { readonly message: string } | undefined;
};

function resourceBytes(response: ResponseOf[XdsProtocol]): ResourceBytes {
  const bytes: Uint8Array[] = [];
  for (const resource of response.resources) {
    const any = resource.$typeName === 'google.protobuf.Any' ? resource : resource.resource;
    if (any !== undefined) bytes.push(any.value);
  }
  return bytes;
}

/**
 * `idle` before the proxy's first request, then `open` and `waiting` (back-off) in turn until the proxy leaves.
 */
type UpstreamState<P extends XdsProtocol> =
  | { readonly kind: 'idle' }
  | { readonly kind: 'open'; readonly stream: AdsStream<RequestOf[P]> }
  | { readonly kind: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'closed' };

export class RelayStream<P extends XdsProtocol> implements StreamHandler<RequestOf[P]> {
  readonly #protocol: P;
  readonly #state: RelayState<P>;
  readonly #downstream: AdsStream<ResponseOf[P]>;
  readonly #context: RelayContext;
  readonly #onEnd: () => void;
  #upstream: UpstreamState<P> = { kind: 'idle' };

  constructor(
    protocol: P,
    state: RelayState<P>,
    downstream: AdsStream<ResponseOf[P]>,
    context: RelayContext,
    onEnd: () => void,
  ) {
    this.#protocol = protocol;
    this.#state = state;
    this.#downstream = downstream;
    this.#context = context;
    this.#onEnd = onEnd;
  }

  /** A request of the proxy. */
  onMessage(request: RequestOf[P]): void {
    const { typeUrl, errorDetail } = request as AnyRequest;
    const { events, log, interceptors } = this.#context;
    if (interceptors.has(typeUrl)) {
      log.warn('the proxy asks for a type of the agent', { type: shortTypeName(typeUrl) });
      return;
    }
    const { forward, answer } = this.#state.track(request);
    events.onRequest(typeUrl);
    if (answer === 'ack') events.onAck(typeUrl);
    if (answer === 'nack') {
      const detail = errorDetail?.message ?? '';
      log.warn('the proxy refused a configuration', { type: shortTypeName(typeUrl), detail });
      events.onNack(typeUrl, detail);
    }
    if (this.#upstream.kind === 'idle') {
      for (const type of interceptors.keys()) this.#state.track(this.#state.subscribeAll(type));
      this.#open();
    } else if (this.#upstream.kind === 'open' && forward !== undefined) this.#upstream.stream.send(forward);
  }

  /** The proxy has left. */
  onClose(): void {
    this.#closeUpstream();
    this.#onEnd();
  }

  /** Ends both sides. */
  close(): void {
    this.#closeUpstream();
    this.#downstream.close();
    this.#onEnd();
  }

  #closeUpstream(): void {
    if (this.#upstream.kind === 'open') this.#upstream.stream.close();
    if (this.#upstream.kind === 'waiting') clearTimeout(this.#upstream.timer);
    this.#upstream = { kind: 'closed' };
  }

  #open(): void {
    let answered = false;
    const stream = this.#context.upstream.open(this.#protocol, {
      onMessage: (response) => {
        if (!answered) {
          answered = true;
          this.#context.backoff.reset();
          this.#context.events.onUpstream('responding');
        }
        this.#onResponse(response);
      },
      onClose: (error) => this.#onUpstreamLost(error),
    });
    this.#upstream = { kind: 'open', stream };
    this.#context.events.onUpstream('open');
    for (const request of this.#state.resume()) stream.send(request);
  }

  #onUpstreamLost(error: GrpcError | undefined): void {
    if (this.#upstream.kind !== 'open') return;
    this.#state.onUpstreamLost();
    const waitMs = Math.round(this.#context.backoff.next());
    const timer = setTimeout(() => this.#open(), waitMs);
    this.#upstream = { kind: 'waiting', timer };
    this.#context.log.warn('connection to the control plane lost', { retryInMs: waitMs, error });
    this.#context.events.onUpstream('lost', error);
  }

  #onResponse(response: ResponseOf[P]): void {
    const { typeUrl } = response;
    this.#context.events.onResponse(typeUrl);
    this.#state.onResponse(response);
    const interceptor = this.#context.interceptors.get(typeUrl);
    if (interceptor === undefined) {
      this.#downstream.send(response);
      return;
    }
    let problem: string | undefined;
    try {
      interceptor(resourceBytes(response));
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
      this.#context.log.error('resource refused', { type: shortTypeName(typeUrl), error });
    }
    const { forward } = this.#state.track(this.#state.answer(response, problem));
    if (forward !== undefined && this.#upstream.kind === 'open') this.#upstream.stream.send(forward);
  }
}
