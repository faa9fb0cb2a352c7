/** The mesh side of the protocol server: who connects, what each proxy gets, what it says about it. */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Logger } from '#base/log.ts';
import type { Authenticator } from '#security/authn/authenticator.ts';
import { GrpcError, grpcStatus } from '#xds/grpc_status.ts';
import type { Generated, ResourceSource, SentResponse, Subscription } from '#xds/server/source.ts';
import type { Peer } from '#xds/transport.ts';
import { shortTypeName } from '#xds/type_url.ts';
import { type Proxy, proxyFromNode } from '../model/proxy.ts';
import type { PushContext } from '../model/push_context.ts';
import { authenticatePeer, authorizeProxy } from './authentication.ts';
import type { Connection } from './connection.ts';
import type { Generator } from './generator.ts';
import type { PilotMetrics } from './metrics.ts';
import { type PushRequest, mergePushRequests } from './push_request.ts';

/** The context that requests are answered from. */
export interface CurrentContext {
  readonly context: PushContext;
  readonly generation: number;
}

export interface DiscoverySourceOptions {
  readonly generators: readonly Generator[];
  readonly authenticators: readonly Authenticator[];
  readonly metrics: PilotMetrics;
  readonly log: Logger;
  readonly current: () => CurrentContext;
  /** A proxy came, went, or answered. */
  readonly onChange: (connection: Connection, event: 'open' | 'close' | 'answer') => void;
}

function readNode(node: Node): Proxy {
  try {
    return proxyFromNode(node);
  } catch (error) {
    throw GrpcError.from(error, grpcStatus.invalidArgument);
  }
}

export class DiscoverySource implements ResourceSource<Connection, PushRequest> {
  readonly #options: DiscoverySourceOptions;
  readonly #generators: ReadonlyMap<string, Generator>;
  /** Versions begin with it, so that those of two runs of the control plane differ. */
  readonly #started = new Date().toISOString();
  #connections = 0;

  constructor(options: DiscoverySourceOptions) {
    this.#options = options;
    this.#generators = new Map(options.generators.map((generator) => [generator.typeUrl, generator]));
  }

  async open(node: Node, peer: Peer): Promise<Connection> {
    const { log, authenticators, onChange, metrics, current } = this.#options;
    const proxy = readNode(node);
    let caller: Connection['caller'];
    try {
      caller = await authenticatePeer(authenticators, peer);
      if (caller !== undefined) authorizeProxy(caller, proxy);
    } catch (error) {
      const refused = GrpcError.from(error, grpcStatus.internal);
      log.warn('proxy refused', { node: node.id, from: peer.address, error, reason: refused.cause });
      throw refused;
    }
    const connection: Connection = {
      id: `${node.id}-${++this.#connections}`,
      node,
      proxy,
      peer: { kind: peer.kind, address: peer.address },
      caller,
      connectedAt: Date.now(),
      sentGeneration: current().generation,
      liveGeneration: 0,
      failures: new Map(),
    };
    metrics.connected.add(1);
    log.info('new connection', { node: connection.id, from: peer.address });
    onChange(connection, 'open');
    return connection;
  }

  generate(
    connection: Connection,
    typeUrl: string,
    subscription: Subscription,
    push: PushRequest | undefined,
  ): Generated | undefined {
    const generator = this.#generators.get(typeUrl);
    if (generator === undefined) return undefined;
    const { metrics, log, current } = this.#options;
    const { context, generation } = push ?? current();
    // A push may change any name; a request wants those it has just named.
    const asked = push === undefined && generator.named ? subscription.asked : undefined;
    const partial = asked !== undefined && subscription.mayBePartial;
    const started = performance.now();
    try {
      const names = [...(partial ? asked : subscription.names)];
      const resources = generator.generate(connection.proxy, context, names);
      connection.failures.delete(typeUrl);
      return { version: `${this.#started}/${generation}`, resources, full: !partial };
    } catch (error) {
      metrics.internalErrors.inc();
      connection.failures.set(typeUrl, error instanceof Error ? error.message : String(error));
      log.error('generation failed, the proxy keeps what it has', {
        node: connection.id,
        type: shortTypeName(typeUrl),
        error,
      });
      return undefined;
    } finally {
      metrics.pushTime(typeUrl).observe((performance.now() - started) / 1000);
    }
  }

  mergePushes(older: PushRequest, newer: PushRequest): PushRequest {
    return mergePushRequests(older, newer);
  }

  close(connection: Connection): void {
    this.#options.metrics.connected.add(-1);
    this.#options.log.info('connection closed', { node: connection.id });
    this.#options.onChange(connection, 'close');
  }

  onSent(connection: Connection, typeUrl: string, sent: SentResponse): void {
    const { metrics, log } = this.#options;
    metrics.pushes(typeUrl).inc();
    metrics.configSize(typeUrl).observe(sent.bytes);
    log.info(sent.pushed ? 'push' : 'push request', {
      type: shortTypeName(typeUrl),
      node: connection.id,
      resources: sent.resources,
      removed: sent.removed,
      size: sent.bytes,
    });
  }

  onAck(connection: Connection): void {
    this.#options.onChange(connection, 'answer');
  }

  onNack(connection: Connection, typeUrl: string, nonce: string, version: string, detail: string): void {
    this.#options.metrics.reject(typeUrl).inc();
    this.#options.log.warn('ACK ERROR', {
      type: shortTypeName(typeUrl),
      node: connection.id,
      nonce,
      version,
      detail,
    });
    this.#options.onChange(connection, 'answer');
  }
}
