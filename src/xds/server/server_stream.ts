/**
 * One stream of the server: requests change subscriptions, and one loop sends what is due. At any time there is at most
 * one pending push; a further one merges into it, so a slow client never builds a queue.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from '#base/log.ts';
import type { ControlPlane, Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { GrpcError, grpcStatus } from '../grpc_status.ts';
import type { AdsStream, Peer, RequestOf, ResponseOf, StreamHandler, XdsProtocol } from '../transport.ts';
import { inPushOrder, shortTypeName, typeUrls } from '../type_url.ts';
import type { ServerEncoding } from './encoding.ts';
import type { ResourceSource } from './source.ts';
import { type ClientRequest, type Outgoing, ServerSubscription } from './subscription.ts';

/** Bounds and waits of a stream. */
export interface StreamLimits {
  /** Types on one stream, default 64. */
  readonly maxTypes: number;
  /** Names of one type, default 100 000. */
  readonly maxNames: number;
  /** Requests that wait while the client is being identified, default 256. */
  readonly maxWaitingRequests: number;
  /** The first request must have come after this time, default 10 s. */
  readonly firstRequestTimeoutMs: number;
  /**
   * How long a push of a type waits for the answer to the last response of that type, default 1 s. It bounds what a client
   * that applies slowly has to hold; it ends, because Envoy holds back the answer while clusters warm.
   */
  readonly ackWaitMs: number;
}

/** What a stream has of the server. */
export interface StreamContext<Client, Push> {
  readonly source: ResourceSource<Client, Push>;
  readonly limits: StreamLimits;
  readonly log: Logger;
  readonly controlPlane: ControlPlane;
  onOpen(client: Client): void;
  onClose(client: Client | undefined): void;
}

interface PendingPush<Push> {
  readonly types: Set<string>;
  push: Push;
  readonly waiters: ((sent: boolean) => void)[];
}

type State<Client> =
  | { readonly kind: 'new' }
  | { readonly kind: 'opening' }
  | { readonly kind: 'open'; readonly client: Client }
  | { readonly kind: 'closed' };

/** What the loop does next: a type to send, a wait, or nothing. */
type Step<Push> =
  | { readonly kind: 'send'; readonly typeUrl: string; readonly push: Push | undefined }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'idle' };

export class ServerStream<Client, Push, P extends XdsProtocol> implements StreamHandler<RequestOf[P]> {
  readonly #context: StreamContext<Client, Push>;
  readonly #encoding: ServerEncoding<P>;
  readonly #stream: AdsStream<ResponseOf[P]>;
  readonly #peer: Peer;
  readonly #types = new Map<string, ServerSubscription>();
  /** Types whose request has no answer yet. */
  readonly #due = new Set<string>();
  readonly #noncePrefix = randomBytes(6).toString('base64url');
  readonly #firstRequest: NodeJS.Timeout;
  #state: State<Client> = { kind: 'new' };
  #waiting: RequestOf[P][] = [];
  #pending: PendingPush<Push> | undefined;
  #running = false;
  #wait: NodeJS.Timeout | undefined;
  #nonces = 0;

  constructor(
    context: StreamContext<Client, Push>,
    encoding: ServerEncoding<P>,
    stream: AdsStream<ResponseOf[P]>,
    peer: Peer,
  ) {
    this.#context = context;
    this.#encoding = encoding;
    this.#stream = stream;
    this.#peer = peer;
    this.#firstRequest = setTimeout(
      () => this.close(new GrpcError(grpcStatus.deadlineExceeded, 'no request came')),
      context.limits.firstRequestTimeoutMs,
    );
  }

  /** State per type, for status tables. */
  get subscriptions(): ReadonlyMap<string, ServerSubscription> {
    return this.#types;
  }

  onMessage(request: RequestOf[P]): void {
    switch (this.#state.kind) {
      case 'new':
        clearTimeout(this.#firstRequest);
        this.#waiting.push(request);
        void this.#open(request.node);
        return;
      case 'opening':
        if (this.#waiting.length < this.#context.limits.maxWaitingRequests) this.#waiting.push(request);
        else this.close(new GrpcError(grpcStatus.resourceExhausted, 'too many requests at once'));
        return;
      case 'open':
        this.#onRequest(this.#state.client, this.#encoding.decode(request));
        return;
      case 'closed':
    }
  }

  onClose(): void {
    this.#end();
  }

  /** Ends the stream from this side. */
  close(error?: GrpcError): void {
    if (this.#state.kind === 'closed') return;
    this.#end();
    this.#stream.close(error);
  }

  /** Sends types anew, all that are subscribed when `types` is undefined. True once sent, false when the stream ended. */
  push(types: readonly string[] | undefined, push: Push): Promise<boolean> {
    if (this.#state.kind !== 'open') return Promise.resolve(false);
    const wanted = (types ?? [...this.#types.keys()]).filter((url) => this.#types.get(url)?.active === true);
    if (this.#pending === undefined) {
      if (wanted.length === 0) return Promise.resolve(true);
      this.#pending = { types: new Set(wanted), push, waiters: [] };
    } else {
      this.#pending.push = this.#context.source.mergePushes(this.#pending.push, push);
      for (const url of wanted) this.#pending.types.add(url);
    }
    const { waiters } = this.#pending;
    const sent = new Promise<boolean>((resolve) => waiters.push(resolve));
    this.#wake();
    return sent;
  }

  async #open(node: Node | undefined): Promise<void> {
    this.#state = { kind: 'opening' };
    let client: Client;
    try {
      if (node === undefined)
        throw new GrpcError(grpcStatus.invalidArgument, 'the first request has no node');
      client = await this.#context.source.open(node, this.#peer);
    } catch (error) {
      this.close(GrpcError.from(error, grpcStatus.internal));
      return;
    }
    if (this.#ended()) {
      this.#context.source.close(client);
      return;
    }
    this.#state = { kind: 'open', client };
    this.#context.onOpen(client);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const request of waiting) this.onMessage(request);
  }

  /** The state may have changed while something was awaited. */
  #ended(): boolean {
    return this.#state.kind === 'closed';
  }

  #end(): void {
    if (this.#state.kind === 'closed') return;
    const client = this.#state.kind === 'open' ? this.#state.client : undefined;
    this.#state = { kind: 'closed' };
    clearTimeout(this.#firstRequest);
    clearTimeout(this.#wait);
    this.#waiting = [];
    for (const resolve of this.#pending?.waiters ?? []) resolve(false);
    this.#pending = undefined;
    this.#context.onClose(client);
    if (client !== undefined) this.#context.source.close(client);
  }

  #onRequest(client: Client, request: ClientRequest): void {
    const { typeUrl, nonce, names } = request;
    let subscription = this.#types.get(typeUrl);
    if (subscription === undefined) {
      if (typeUrl === '' || this.#types.size >= this.#context.limits.maxTypes) {
        this.close(
          new GrpcError(grpcStatus.invalidArgument, typeUrl === '' ? 'no type URL' : 'too many types'),
        );
        return;
      }
      subscription = new ServerSubscription(typeUrl, this.#encoding.protocol);
      this.#types.set(typeUrl, subscription);
      subscription.open(names);
    } else {
      const stale = nonce !== '' && nonce !== subscription.sent?.nonce;
      if (nonce !== '' && !stale) this.#onAnswer(client, subscription, request);
      // Over delta a stale nonce says nothing about the names; over SotW the whole request is outdated: one that answers
      // the last response is on its way (xDS protocol, "ACK and resource type instance version").
      if (stale && names.kind === 'list') return;
      subscription.change(names);
    }
    if (subscription.names.size > this.#context.limits.maxNames) {
      this.close(new GrpcError(grpcStatus.resourceExhausted, `too many names of ${typeUrl}`));
      return;
    }
    const round = subscription.peek();
    this.#context.source.onSubscribe?.(client, round);
    if (round.owed && subscription.active) this.#due.add(typeUrl);
    this.#wake();
  }

  #onAnswer(client: Client, subscription: ServerSubscription, { nonce, error }: ClientRequest): void {
    const { sent, typeUrl } = subscription;
    if (sent === undefined || !subscription.unanswered) return;
    const at = Date.now();
    if (error === undefined) {
      subscription.acked = { nonce, version: sent.version, at };
      subscription.nacked = undefined;
      this.#context.source.onAck?.(client, typeUrl, nonce, sent.version);
      return;
    }
    subscription.nacked = { nonce, version: sent.version, at, detail: error };
    this.#context.source.onNack?.(client, typeUrl, nonce, sent.version, error);
  }

  #wake(): void {
    clearTimeout(this.#wait);
    this.#wait = undefined;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      for (let step = this.#next(); step.kind !== 'idle'; step = this.#next()) {
        if (step.kind === 'wait') {
          this.#wait = setTimeout(() => this.#wake(), step.ms);
          return;
        }
        await this.#send(step.typeUrl, step.push);
      }
    } catch (error) {
      this.#context.log.error('stream failed', { error });
      this.close(GrpcError.from(error, grpcStatus.internal));
    } finally {
      this.#running = false;
    }
  }

  #next(): Step<Push> {
    if (this.#state.kind !== 'open') return { kind: 'idle' };
    // Requests first: a client that starts or warms waits for them, and nothing makes it wait for an answer.
    const [due] = inPushOrder(this.#due);
    if (due !== undefined) {
      this.#due.delete(due);
      const pending = this.#pending?.types.delete(due) === true ? this.#pending.push : undefined;
      return { kind: 'send', typeUrl: due, push: pending };
    }
    const pending = this.#pending;
    if (pending === undefined) return { kind: 'idle' };
    const [typeUrl] = inPushOrder(pending.types);
    if (typeUrl === undefined) {
      this.#pending = undefined;
      for (const resolve of pending.waiters) resolve(true);
      return { kind: 'idle' };
    }
    const subscription = this.#types.get(typeUrl);
    if (subscription?.unanswered === true && subscription.sent !== undefined) {
      const ms = subscription.sent.at + this.#context.limits.ackWaitMs - Date.now();
      // Later types wait as well: a route must not arrive before the cluster it names.
      if (ms > 0) return { kind: 'wait', ms };
    }
    pending.types.delete(typeUrl);
    return { kind: 'send', typeUrl, push: pending.push };
  }

  async #send(typeUrl: string, push: Push | undefined): Promise<void> {
    const subscription = this.#types.get(typeUrl);
    if (subscription === undefined || !subscription.active || this.#state.kind !== 'open') return;
    const { client } = this.#state;
    const round = subscription.begin();
    const generated = await this.#context.source.generate(client, typeUrl, round, push);
    if (generated === undefined || this.#ended()) return;
    const outgoing = subscription.compose(round, generated);
    if (outgoing === undefined) return;
    const nonce = `${this.#noncePrefix}${(this.#nonces++).toString(36)}`;
    subscription.sent = { nonce, version: outgoing.version, at: Date.now() };
    this.#stream.send(this.#encoding.encode(typeUrl, nonce, outgoing, this.#context.controlPlane));
    this.#rewarm(typeUrl, outgoing);
    this.#record(client, typeUrl, nonce, outgoing, push !== undefined);
    await this.#stream.flushed?.();
  }

  /** Envoy warms a changed cluster only with endpoints that come after it, yet does not ask again for a name it has asked for. */
  #rewarm(typeUrl: string, { changed }: Outgoing): void {
    if (typeUrl !== typeUrls.cds) return;
    const endpoints = this.#types.get(typeUrls.eds);
    if (endpoints === undefined) return;
    endpoints.demand(changed);
    if (endpoints.peek().owed) this.#due.add(typeUrls.eds);
  }

  #record(client: Client, typeUrl: string, nonce: string, outgoing: Outgoing, pushed: boolean): void {
    const { version, resources, removed } = outgoing;
    let bytes = 0;
    for (const resource of resources) bytes += resource.bytes.length;
    this.#context.log.debug('sent', {
      type: shortTypeName(typeUrl),
      resources: resources.length,
      bytes,
      pushed,
    });
    this.#context.source.onSent?.(client, typeUrl, {
      nonce,
      version,
      resources: resources.length,
      removed: removed.length,
      bytes,
      pushed,
    });
  }
}
