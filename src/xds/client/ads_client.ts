/**
 * A client of xDS on one stream: subscriptions outlive streams, each response is applied and then acknowledged or
 * refused, and after a lost stream everything is asked for again with the versions held.
 */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { Backoff } from '#base/backoff.ts';
import { type Logger, silentLogger } from '#base/log.ts';
import { GrpcError, grpcStatus } from '../grpc_status.ts';
import type { AdsStream, AdsTransport, RequestOf, ResponseOf, XdsProtocol } from '../transport.ts';
import { shortTypeName, typeUrls } from '../type_url.ts';
import { type ClientEncoding, type RequestReason, deltaEncoding, sotwEncoding } from './encoding.ts';
import { type UpdateListener, type UpdateOutcome, rejectionText } from './resource_update.ts';
import { type DecodedResponse, TypeState } from './type_state.ts';

export interface AdsClientOptions {
  readonly transport: AdsTransport;
  readonly protocol: XdsProtocol;
  /** Sent with the first request of each stream, read anew each time. */
  readonly node: () => Node;
  readonly onUpdate: UpdateListener;
  /** The stream opened (its first request went out) or was lost. */
  readonly onState?: (state: AdsClientState) => void;
  /** Waits between streams. Default 500 ms doubling to 30 s (Envoy `BackOffStrategy` of GrpcStream). */
  readonly backoff?: Backoff;
  readonly log?: Logger;
}

/** `waiting` is the back-off after a lost stream. */
export type AdsClientState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'streaming' }
  | { readonly kind: 'waiting'; readonly error: GrpcError | undefined }
  | { readonly kind: 'closed' };

/** Responses of one type that wait for the one being applied; more than this loses the stream. */
const maxWaitingResponses = 64;

/** Names asked for, of one type. */
const maxNames = 100_000;

/** A stream of either variant behind the four things the client does with it. */
interface OpenStream {
  send(state: TypeState, reason: RequestReason, node: Node | undefined): void;
  close(): void;
}

interface TypeEntry {
  readonly state: TypeState;
  /** Responses not yet applied, with the stream that each came on. */
  readonly waiting: { readonly response: DecodedResponse; readonly generation: number }[];
  applying: boolean;
}

export class AdsClient {
  readonly #options: AdsClientOptions;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #types = new Map<string, TypeEntry>();
  /** Types whose names have changed since the last turn of the event loop. */
  readonly #untold = new Set<TypeState>();
  /** Updates of clusters and listeners that are being applied: what they ask for waits until they are done. */
  #naming = 0;
  #state: AdsClientState = { kind: 'idle' };
  #stream: OpenStream | undefined;
  /** Streams are numbered so that what an old one still delivers is dropped. */
  #generation = 0;
  #nodeSent = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: AdsClientOptions) {
    this.#options = options;
    this.#log = (options.log ?? silentLogger).scope('ads');
    this.#backoff = options.backoff ?? new Backoff({ baseMs: 500, maxMs: 30_000 });
  }

  get state(): AdsClientState {
    return this.#state;
  }

  /** Opens the stream. Types subscribed before are asked for in the order of their subscription. */
  start(): void {
    if (this.#state.kind === 'idle') this.#open();
  }

  /** Ends the stream; no listener is called any more. */
  close(): void {
    this.#generation++;
    clearTimeout(this.#retry);
    this.#stream?.close();
    this.#stream = undefined;
    this.#enter({ kind: 'closed' });
  }

  /**
   * Asks for resources by name, or for all (`*`). Adds to what is asked for already. What is asked for in one turn of the
   * event loop goes out in one request; while clusters or listeners are applied, what they all name does (as Envoy pauses
   * the types that these name).
   * @throws RangeError above 100 000 names.
   */
  subscribe(typeUrl: string, names: readonly string[] | '*'): void {
    const { state } = this.#entry(typeUrl);
    for (const name of names === '*' ? ['*'] : names) {
      if (name === '*' ? state.wildcard : state.names.has(name)) continue;
      if (state.names.size >= maxNames) throw new RangeError(`more than ${maxNames} names of ${typeUrl}`);
      state.add(name);
      this.#changed(state);
    }
  }

  /** Stops asking; the resources are forgotten without a call of the listener. */
  unsubscribe(typeUrl: string, names: readonly string[] | '*'): void {
    const state = this.#types.get(typeUrl)?.state;
    if (state === undefined) return;
    for (const name of names === '*' ? ['*'] : names) {
      if (name === '*' ? !state.wildcard : !state.names.has(name)) continue;
      state.remove(name);
      this.#changed(state);
    }
  }

  #changed(state: TypeState): void {
    if (this.#untold.size === 0) setImmediate(() => this.#tellChanges());
    this.#untold.add(state);
  }

  #tellChanges(): void {
    if (this.#naming > 0) return;
    const states = [...this.#untold];
    this.#untold.clear();
    if (this.#stream === undefined) return;
    for (const state of states) {
      const change = state.untold();
      if (change === undefined) continue;
      const names = this.#options.protocol === 'sotw' ? state.namesBefore() : undefined;
      if (names !== undefined) this.#stream.send(state, { kind: 'names', names }, undefined);
      this.#request(state, { kind: 'change', ...change });
    }
  }

  #entry(typeUrl: string): TypeEntry {
    let entry = this.#types.get(typeUrl);
    if (entry === undefined) {
      entry = { state: new TypeState(typeUrl), waiting: [], applying: false };
      this.#types.set(typeUrl, entry);
    }
    return entry;
  }

  #enter(state: AdsClientState): void {
    this.#state = state;
    this.#options.onState?.(state);
  }

  #open(): void {
    const generation = ++this.#generation;
    this.#nodeSent = false;
    for (const entry of this.#types.values()) {
      entry.state.onStreamOpen();
      entry.waiting.length = 0;
    }
    this.#stream =
      this.#options.protocol === 'sotw'
        ? this.#openAs(sotwEncoding, generation)
        : this.#openAs(deltaEncoding, generation);
    this.#enter({ kind: 'streaming' });
    for (const { state } of this.#types.values()) {
      if (state.active) this.#request(state, { kind: 'initial' });
    }
  }

  #openAs<P extends XdsProtocol>(encoding: ClientEncoding<P>, generation: number): OpenStream {
    const stream: AdsStream<RequestOf[P]> = this.#options.transport.open(encoding.protocol, {
      onMessage: (response: ResponseOf[P]) => {
        if (generation !== this.#generation) return;
        try {
          this.#onResponse(encoding.decode(response), generation);
        } catch (error) {
          stream.close();
          this.#onLost(GrpcError.from(error, grpcStatus.internal), generation);
        }
      },
      onClose: (error) => this.#onLost(error, generation),
    });
    return {
      send: (state, reason, node) => stream.send(encoding.encode(state, reason, node)),
      close: () => stream.close(),
    };
  }

  #request(state: TypeState, reason: RequestReason): void {
    if (this.#stream === undefined) return;
    const sent = state.requested ? reason : ({ kind: 'initial' } as const);
    const node = this.#nodeSent ? undefined : this.#options.node();
    this.#stream.send(state, sent, node);
    this.#nodeSent = true;
    // An answer over delta carries no names: they still have to be told.
    const carriesNames =
      this.#options.protocol === 'sotw' || sent.kind === 'initial' || sent.kind === 'change';
    if (carriesNames) state.tell();
  }

  #onResponse(response: DecodedResponse, generation: number): void {
    const entry = this.#types.get(response.typeUrl);
    // Nobody ever asked for it: there is no subscription whose request could carry an answer.
    if (entry === undefined) return;
    if (entry.waiting.length >= maxWaitingResponses) {
      throw new GrpcError(grpcStatus.resourceExhausted, `more than ${maxWaitingResponses} responses wait`);
    }
    this.#backoff.reset();
    entry.waiting.push({ response, generation });
    if (!entry.applying) void this.#applyWaiting(entry);
  }

  async #applyWaiting(entry: TypeEntry): Promise<void> {
    entry.applying = true;
    for (let next = entry.waiting.shift(); next !== undefined; next = entry.waiting.shift()) {
      const { response, generation } = next;
      const outcome = await this.#apply(entry.state, response);
      // After the stream was lost the outcome still counts, but the answer has nowhere to go.
      if (generation === this.#generation) this.#answer(entry.state, response, outcome);
    }
    entry.applying = false;
  }

  #answer(state: TypeState, { nonce, version, malformed }: DecodedResponse, outcome: UpdateOutcome): void {
    state.nonce = nonce;
    const rejected = [...(outcome?.rejected ?? []), ...malformed.map((message) => ({ name: '', message }))];
    if (rejected.length === 0) {
      this.#request(state, { kind: 'ack' });
      return;
    }
    const detail = rejectionText(rejected);
    this.#log.warn('rejected', { type: shortTypeName(state.typeUrl), version, detail });
    this.#request(state, { kind: 'nack', detail });
  }

  async #apply(state: TypeState, response: DecodedResponse): Promise<UpdateOutcome> {
    const update = state.difference(response);
    if (update.changed.length === 0 && update.removed.length === 0 && !update.first) {
      state.commit(update, undefined);
      return undefined;
    }
    const names = response.typeUrl === typeUrls.cds || response.typeUrl === typeUrls.lds;
    if (names) this.#naming++;
    let outcome: UpdateOutcome;
    try {
      outcome = (await this.#options.onUpdate(response.typeUrl, update)) ?? undefined;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      outcome = { rejected: update.changed.map(({ name }) => ({ name, message })) };
      if (update.changed.length === 0) outcome = { rejected: [{ name: '', message }] };
    }
    if (names && --this.#naming === 0) this.#tellChanges();
    if (outcome?.rejected.length === 0) outcome = undefined;
    state.commit(update, outcome);
    return outcome;
  }

  #onLost(error: GrpcError | undefined, generation: number): void {
    if (generation !== this.#generation) return;
    this.#generation++;
    this.#stream = undefined;
    const waitMs = this.#backoff.next();
    this.#log.warn('stream closed', {
      error: error?.message ?? 'by the server',
      status: error?.status,
      waitMs,
    });
    this.#retry = setTimeout(() => this.#open(), waitMs);
    this.#enter({ kind: 'waiting', error });
  }
}
