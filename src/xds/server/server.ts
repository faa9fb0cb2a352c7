/** The server side of xDS: takes streams of either variant, answers out of a source of resources. */
import { type Logger, silentLogger } from '#base/log.ts';
import type { ControlPlane } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { GrpcError, grpcStatus } from '../grpc_status.ts';
import type {
  AdsAcceptor,
  AdsStream,
  Peer,
  RequestOf,
  ResponseOf,
  StreamHandler,
  XdsProtocol,
} from '../transport.ts';
import { type ServerEncoding, controlPlane, deltaEncoding, sotwEncoding } from './encoding.ts';
import { ServerStream, type StreamContext, type StreamLimits } from './server_stream.ts';
import type { ResourceSource } from './source.ts';
import type { AckState, ServerSubscription } from './subscription.ts';

export interface XdsServerOptions<Client, Push> {
  readonly source: ResourceSource<Client, Push>;
  /** Identifier in `control_plane` of each response. Default `trysail`. */
  readonly identifier?: string;
  readonly limits?: Partial<StreamLimits>;
  /** Streams at one time, default 10 000; more are refused as `resourceExhausted`. */
  readonly maxStreams?: number;
  readonly log?: Logger;
}

/** State of one type of one client. */
export interface TypeStatus {
  readonly typeUrl: string;
  /** The last response; undefined when nothing was sent. */
  readonly sent: AckState | undefined;
  readonly acked: AckState | undefined;
  /** Present while the last answer was a refusal. */
  readonly nacked: (AckState & { readonly detail: string }) | undefined;
  readonly wildcard: boolean;
  readonly names: number;
}

const defaultLimits: StreamLimits = {
  maxTypes: 64,
  maxNames: 100_000,
  maxWaitingRequests: 256,
  firstRequestTimeoutMs: 10_000,
  ackWaitMs: 1_000,
};

/** What the server needs of a stream, whatever its variant. */
interface OpenStream<Push> {
  readonly subscriptions: ReadonlyMap<string, ServerSubscription>;
  push(types: readonly string[] | undefined, push: Push): Promise<boolean>;
  close(error?: GrpcError): void;
}

export class XdsServer<Client, Push> implements AdsAcceptor {
  readonly #options: XdsServerOptions<Client, Push>;
  readonly #limits: StreamLimits;
  readonly #log: Logger;
  readonly #controlPlane: ControlPlane;
  readonly #streams = new Set<OpenStream<Push>>();
  readonly #clients = new Map<Client, OpenStream<Push>>();

  constructor(options: XdsServerOptions<Client, Push>) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#log = (options.log ?? silentLogger).scope('ads');
    this.#controlPlane = controlPlane(options.identifier ?? 'trysail');
  }

  accept<P extends XdsProtocol>(
    protocol: P,
    stream: AdsStream<ResponseOf[P]>,
    peer: Peer,
  ): StreamHandler<RequestOf[P]> {
    const encodings: { readonly [Q in XdsProtocol]: ServerEncoding<Q> } = {
      sotw: sotwEncoding,
      delta: deltaEncoding,
    };
    return this.#add(encodings[protocol], stream, peer);
  }

  /** Clients whose streams are open. */
  get clients(): Iterable<Client> {
    return this.#clients.keys();
  }

  /**
   * Generates types anew for a client, all it is subscribed to when `types` is undefined, and sends what has changed, in
   * the order of `pushOrder`. True once it was sent; false when the stream ended before.
   */
  push(client: Client, types: readonly string[] | undefined, push: Push): Promise<boolean> {
    return this.#clients.get(client)?.push(types, push) ?? Promise.resolve(false);
  }

  /** Sent and answered versions of each type of a client. */
  status(client: Client): TypeStatus[] {
    const subscriptions = this.#clients.get(client)?.subscriptions.values() ?? [];
    return [...subscriptions].map(({ typeUrl, sent, acked, nacked, wildcard, names }) => ({
      typeUrl,
      sent,
      acked,
      nacked,
      wildcard,
      names: names.size,
    }));
  }

  /** Names that a client asks for of a type; none for a pure wildcard. */
  names(client: Client, typeUrl: string): readonly string[] {
    return [...(this.#clients.get(client)?.subscriptions.get(typeUrl)?.names ?? [])];
  }

  /** Ends the stream of a client; it will come back. */
  disconnect(client: Client, error: GrpcError = new GrpcError(grpcStatus.unavailable, 'disconnected')): void {
    this.#clients.get(client)?.close(error);
  }

  /** Ends all streams. */
  close(): void {
    for (const stream of this.#streams)
      stream.close(new GrpcError(grpcStatus.unavailable, 'the server stops'));
  }

  #add<P extends XdsProtocol>(
    encoding: ServerEncoding<P>,
    stream: AdsStream<ResponseOf[P]>,
    peer: Peer,
  ): StreamHandler<RequestOf[P]> {
    if (this.#streams.size >= (this.#options.maxStreams ?? 10_000)) {
      // Closing from inside `accept` would come before the caller has the handler.
      setImmediate(() => stream.close(new GrpcError(grpcStatus.resourceExhausted, 'too many streams')));
      return { onMessage() {}, onClose() {} };
    }
    const context: StreamContext<Client, Push> = {
      source: this.#options.source,
      limits: this.#limits,
      log: this.#log,
      controlPlane: this.#controlPlane,
      onOpen: (client) => void this.#clients.set(client, added),
      onClose: (client) => {
        this.#streams.delete(added);
        if (client !== undefined) this.#clients.delete(client);
      },
    };
    const added = new ServerStream(context, encoding, stream, peer);
    this.#streams.add(added);
    return added;
  }
}
