/** Joins a client and an acceptor in one process: same messages, same order, asynchronous, no bytes. */
import { GrpcError, grpcStatus } from './grpc_status.ts';
import type {
  AdsAcceptor,
  AdsStream,
  AdsTransport,
  Peer,
  RequestOf,
  ResponseOf,
  StreamHandler,
  XdsProtocol,
} from './transport.ts';

const memoryPeer: Peer = { kind: 'memory', address: '', metadata: {} };

/** Messages of one direction that the receiver has not taken yet; more than this closes the stream. */
const maxQueued = 1024;

/** One direction: messages wait here for their own turn of the event loop. */
class Pipe<T> {
  readonly #queue: T[] = [];
  #handler: StreamHandler<T> | undefined;
  #ended: { error: GrpcError | undefined } | undefined;
  #scheduled = false;
  #waiters: (() => void)[] = [];

  attach(handler: StreamHandler<T>): void {
    this.#handler = handler;
    this.#schedule();
  }

  /** False when the queue is full. */
  push(message: T): boolean {
    if (this.#ended !== undefined) return true;
    if (this.#queue.length >= maxQueued) return false;
    this.#queue.push(message);
    this.#schedule();
    return true;
  }

  /** The receiver hears of the end after the messages before it. */
  end(error: GrpcError | undefined): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    this.#schedule();
  }

  /** The receiver has gone: nothing more is delivered. */
  drop(): void {
    this.#ended ??= { error: undefined };
    this.#handler = undefined;
    this.#queue.length = 0;
    this.#release();
  }

  flushed(): Promise<void> {
    if (this.#queue.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #schedule(): void {
    if (this.#scheduled || this.#handler === undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    for (let message = this.#queue.shift(); message !== undefined; message = this.#queue.shift()) {
      this.#handler?.onMessage(message);
    }
    this.#release();
    if (this.#ended === undefined) return;
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.onClose(this.#ended.error);
  }

  #release(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}

/** Sends into `out`; closing also stops what comes in through `back`. */
class PipeStream<Out, In> implements AdsStream<Out> {
  readonly #out: Pipe<Out>;
  readonly #back: Pipe<In>;

  constructor(out: Pipe<Out>, back: Pipe<In>) {
    this.#out = out;
    this.#back = back;
  }

  send(message: Out): void {
    if (this.#out.push(message)) return;
    const error = new GrpcError(grpcStatus.resourceExhausted, `more than ${maxQueued} messages wait`);
    this.#out.end(error);
    this.#back.end(error);
  }

  close(error?: GrpcError): void {
    this.#back.drop();
    this.#out.end(error);
  }

  flushed(): Promise<void> {
    return this.#out.flushed();
  }
}

/**
 * A transport whose streams end in `acceptor`.
 * @param peer what the acceptor is told of the client, default `{ kind: 'memory' }` without metadata.
 */
export function memoryTransport(acceptor: AdsAcceptor, peer: Peer = memoryPeer): AdsTransport {
  const closers = new Set<() => void>();
  return {
    open<P extends XdsProtocol>(protocol: P, handler: StreamHandler<ResponseOf[P]>) {
      const requests = new Pipe<RequestOf[P]>();
      const responses = new Pipe<ResponseOf[P]>();
      const own = new PipeStream(requests, responses);
      const client: AdsStream<RequestOf[P]> = {
        send: (message) => own.send(message),
        flushed: () => own.flushed(),
        close: (error) => {
          closers.delete(client.close);
          own.close(error);
        },
      };
      closers.add(client.close);
      requests.attach(acceptor.accept(protocol, new PipeStream(responses, requests), peer));
      responses.attach({
        onMessage: (message) => handler.onMessage(message),
        onClose: (error) => {
          closers.delete(client.close);
          handler.onClose(error);
        },
      });
      return client;
    },
    close() {
      for (const closer of closers) closer();
      closers.clear();
    },
  };
}
