/** The discovery services of gRPC, each stream handed to an acceptor. */
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  type HandlerContext,
  createContextKey,
} from '@connectrpc/connect';
import { AggregatedDiscoveryService } from '#api/gen/envoy/service/discovery/v3/ads_pb.ts';
import { SecretDiscoveryService } from '#api/gen/envoy/service/secret/v3/sds_pb.ts';
import { GrpcError, grpcStatus } from '../grpc_status.ts';
import type { AdsAcceptor, AdsStream, Peer, RequestOf, ResponseOf, XdsProtocol } from '../transport.ts';

const unknownPeer: Omit<Peer, 'metadata'> = { kind: 'plaintext', address: '' };

const peerKey = createContextKey<Omit<Peer, 'metadata'>>(unknownPeer, {
  description: 'peer of the connection',
});

/** Puts facts of the connection where `peerOf` finds them. */
export function setPeer(values: ContextValues, peer: Omit<Peer, 'metadata'>): ContextValues {
  return values.set(peerKey, peer);
}

/** Who calls a handler. */
export function peerOf(context: Pick<HandlerContext, 'values' | 'requestHeader'>): Peer {
  const metadata: Record<string, string> = {};
  for (const [name, value] of context.requestHeader) metadata[name] = value;
  return { ...context.values.get(peerKey), metadata };
}

/** What an acceptor sends, until the response stream pulls it. */
class Outbox<Out> implements AdsStream<Out> {
  readonly #queue: Out[] = [];
  #ended: { readonly error: GrpcError | undefined } | undefined;
  #pull: (() => void) | undefined;
  #waiters: (() => void)[] = [];
  /** The last message taken has been written when the next one is asked for. */
  #writing = false;

  send(message: Out): void {
    if (this.#ended !== undefined) return;
    this.#queue.push(message);
    this.#wake();
  }

  close(error?: GrpcError): void {
    this.#ended ??= { error };
    this.#wake();
  }

  flushed(): Promise<void> {
    if (this.#ended !== undefined || (this.#queue.length === 0 && !this.#writing)) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  async *messages(): AsyncGenerator<Out, void> {
    for (;;) {
      const message = this.#queue.shift();
      if (message !== undefined) {
        this.#writing = true;
        yield message;
        this.#writing = false;
        continue;
      }
      this.#release();
      if (this.#ended?.error !== undefined) throw toConnectError(this.#ended.error);
      if (this.#ended !== undefined) return;
      await new Promise<void>((resolve) => {
        this.#pull = resolve;
      });
    }
  }

  #wake(): void {
    this.#pull?.();
    this.#pull = undefined;
    if (this.#ended !== undefined) this.#release();
  }

  #release(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}

function toConnectError(error: GrpcError): ConnectError {
  // The numbers are the same; Connect has no code for OK.
  return new ConnectError(
    error.message,
    error.code === grpcStatus.ok ? Code.Unknown : (error.code as number),
  );
}

/** Joins one call to the acceptor. */
async function* serve<P extends XdsProtocol>(
  acceptor: AdsAcceptor,
  protocol: P,
  requests: AsyncIterable<RequestOf[P]>,
  context: HandlerContext,
): AsyncGenerator<ResponseOf[P], void> {
  const outbox = new Outbox<ResponseOf[P]>();
  const handler = acceptor.accept(protocol, outbox, peerOf(context));
  let closed = false;
  const onClose = (error?: GrpcError): void => {
    if (closed) return;
    closed = true;
    handler.onClose(error);
    outbox.close();
  };
  const cancelled = (): void => onClose(new GrpcError(grpcStatus.cancelled, 'the client has gone'));
  context.signal.addEventListener('abort', cancelled);
  const read = async (): Promise<void> => {
    try {
      for await (const request of requests) {
        if (closed) return;
        handler.onMessage(request);
      }
      onClose();
    } catch (error) {
      onClose(GrpcError.from(error, grpcStatus.cancelled));
    }
  };
  void read();
  try {
    yield* outbox.messages();
  } finally {
    closed = true;
    context.signal.removeEventListener('abort', cancelled);
  }
}

/** Adds the aggregated discovery service, SotW and delta. */
export function registerAds(router: ConnectRouter, acceptor: AdsAcceptor): void {
  router.service(AggregatedDiscoveryService, {
    streamAggregatedResources: (requests, context) => serve(acceptor, 'sotw', requests, context),
    deltaAggregatedResources: (requests, context) => serve(acceptor, 'delta', requests, context),
  });
}

/** Adds the secret discovery service, SotW and delta. */
export function registerSds(router: ConnectRouter, acceptor: AdsAcceptor): void {
  router.service(SecretDiscoveryService, {
    streamSecrets: (requests, context) => serve(acceptor, 'sotw', requests, context),
    deltaSecrets: (requests, context) => serve(acceptor, 'delta', requests, context),
  });
}
