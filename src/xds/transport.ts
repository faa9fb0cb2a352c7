/**
 * The seam between the two sides of xDS: streams of typed messages. A transport opens streams, an acceptor takes them;
 * gRPC and memory are two ways to join one to the other, and a relay is an acceptor that forwards to a transport.
 * Messages are immutable once sent: the memory transport hands over the same object.
 */
import type { X509Certificate } from 'node:crypto';
import type {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
} from '#api/gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { GrpcError } from './grpc_status.ts';

/** The two variants of the protocol: state of the world, incremental. */
export type XdsProtocol = 'sotw' | 'delta';

/** Messages that a client sends, by variant. */
export interface RequestOf {
  readonly sotw: DiscoveryRequest;
  readonly delta: DeltaDiscoveryRequest;
}

/** Messages that a server sends, by variant. */
export interface ResponseOf {
  readonly sotw: DiscoveryResponse;
  readonly delta: DeltaDiscoveryResponse;
}

/** Hears one stream. Neither method may throw. */
export interface StreamHandler<In> {
  /** In the order sent; never from inside `send` or `open`, never after `onClose`. */
  onMessage(message: In): void;
  /** Once, unless this side closed the stream itself. Without error when the peer ended with status OK. */
  onClose(error?: GrpcError): void;
}

/** The sending half of one stream. */
export interface AdsStream<Out> {
  /** Queues a message; ignored after the stream has closed. */
  send(message: Out): void;
  /** Ends the stream, with a status when given (a server refusing; a client only cancels). Idempotent. */
  close(error?: GrpcError): void;
  /** Resolves when all that was sent has left for the peer or the stream has closed. Absent: always at once. */
  flushed?(): Promise<void>;
}

/** Client side: opens streams to one server. Failures to connect come as `onClose`. */
export interface AdsTransport {
  open<P extends XdsProtocol>(protocol: P, handler: StreamHandler<ResponseOf[P]>): AdsStream<RequestOf[P]>;
  /** Closes all streams and connections. */
  close?(): void;
}

/** Who opened a stream. */
export interface Peer {
  /** `unix` and `memory` peers are on this machine and in this process; `plaintext` is TCP without TLS. */
  readonly kind: 'memory' | 'unix' | 'plaintext' | 'tls';
  /** IP address; empty for memory and Unix sockets. */
  readonly address: string;
  /** Request metadata in lower case (`authorization`). Values are secrets: never log them. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Certificates the client sent, leaf first. TLS has verified them against the roots of the server. */
  readonly certificates?: readonly X509Certificate[];
}

/** Server side: takes streams. */
export interface AdsAcceptor {
  /** The returned handler gets what the client sends; `stream` sends to the client. */
  accept<P extends XdsProtocol>(
    protocol: P,
    stream: AdsStream<ResponseOf[P]>,
    peer: Peer,
  ): StreamHandler<RequestOf[P]>;
}
