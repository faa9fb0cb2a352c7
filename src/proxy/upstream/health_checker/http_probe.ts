/** HTTP and gRPC health checks: one request at a time on a connection of their own (envoy Http- and GrpcHealthCheckerImpl). */
import type { Socket } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '#api/gen/grpc/health/v1/health_pb.ts';
import type { TlsInfo } from '../../network/connection.ts';
import {
  type ClientConnection,
  type ClientConnectionCallbacks,
  type RequestEncoder,
  ResetReason,
  type ResponseDecoder,
} from '../../http/codec.ts';
import { type HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../http/header_map.ts';
import { Dial, type DialCallbacks } from '../conn_pool/dial.ts';
import type { HealthCheckOptions, StatusRange } from './options.ts';
import { type Probe, type ProbeCallbacks, type ProbeTarget, containsAll } from './probe.ts';

type Check = Exclude<HealthCheckOptions['check'], { readonly kind: 'tcp' }>;

const maxGrpcBytes = 64 * 1024;

function within(status: number, list: readonly StatusRange[]): boolean {
  return list.some(({ start, end }) => status >= start && status < end);
}

/** One answer as far as it has come. */
class Answer implements ResponseDecoder {
  readonly #probe: HttpProbe;
  readonly #maxBytes: number;
  headers = new ResponseHeaderMap();
  trailers: HeaderMap | undefined = undefined;
  body: Buffer = Buffer.alloc(0);

  constructor(probe: HttpProbe, maxBytes: number) {
    this.#probe = probe;
    this.#maxBytes = maxBytes;
  }

  decode1xxHeaders(): void {}

  decodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    this.headers = headers;
    if (endStream) this.#probe.onAnswer(this);
  }

  decodeData(data: Buffer, endStream: boolean): void {
    if (this.body.length < this.#maxBytes)
      this.body = Buffer.concat([this.body, data]).subarray(0, this.#maxBytes);
    if (endStream) this.#probe.onAnswer(this);
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.trailers = trailers;
    this.#probe.onAnswer(this);
  }

  onResetStream(): void {
    this.#probe.onReset(this);
  }

  onAboveWriteBufferHighWatermark(): void {}
  onBelowWriteBufferLowWatermark(): void {}
}

export class HttpProbe implements Probe, DialCallbacks, ClientConnectionCallbacks {
  readonly #target: ProbeTarget;
  readonly #check: Check;
  readonly #callbacks: ProbeCallbacks;
  #dial: Dial | undefined = undefined;
  #connection: ClientConnection | undefined = undefined;
  #answer: Answer | undefined = undefined;
  #encoder: RequestEncoder | undefined = undefined;
  #running = false;
  #goneAway = false;

  constructor(target: ProbeTarget, check: Check, callbacks: ProbeCallbacks) {
    this.#target = target;
    this.#check = check;
    this.#callbacks = callbacks;
  }

  run(): void {
    this.#running = true;
    if (this.#connection !== undefined) {
      this.#send(this.#connection);
      return;
    }
    const { address, transport, transportOptions, dial } = this.#target;
    this.#dial = new Dial(address, transport, transportOptions, dial, this);
  }

  onConnected(socket: Socket, _tls: TlsInfo | undefined, negotiated: string): void {
    this.#dial = undefined;
    const check = this.#check;
    const http2 = check.kind === 'grpc' || check.http2 || negotiated === 'h2';
    this.#goneAway = false;
    this.#connection = (http2 ? this.#target.http2 : this.#target.http1)(socket, this);
    this.#send(this.#connection);
  }

  onConnectFailure(): void {
    this.#dial = undefined;
    this.#fail('NETWORK', true);
  }

  #send(connection: ClientConnection): void {
    const check = this.#check;
    const headers = new RequestHeaderMap();
    headers.scheme = this.#target.transport.secure ? 'https' : 'http';
    headers.authority = check.authority === '' ? this.#target.authority : check.authority;
    const answer = new Answer(this, check.kind === 'grpc' ? maxGrpcBytes : check.maxBodyBytes);
    this.#answer = answer;
    const encoder = connection.newStream(answer);
    this.#encoder = encoder;
    if (check.kind === 'grpc') {
      headers.method = 'POST';
      headers.path = '/grpc.health.v1.Health/Check';
      headers.set('content-type', 'application/grpc');
      headers.set('te', 'trailers');
      headers.set('user-agent', 'Envoy/HC');
      for (const [name, value] of check.headers) headers.set(name, value);
      const message = toBinary(
        HealthCheckRequestSchema,
        create(HealthCheckRequestSchema, { service: check.service }),
      );
      const frame = Buffer.alloc(5 + message.length);
      frame.writeUInt32BE(message.length, 1);
      frame.set(message, 5);
      encoder.encodeHeaders(headers, false);
      encoder.encodeData(frame, true);
      return;
    }
    headers.method = check.method;
    headers.path = check.path;
    headers.set('user-agent', 'Envoy/HC');
    for (const [name, value] of check.headers) headers.set(name, value);
    for (const name of check.removed) headers.remove(name);
    if (check.send !== undefined) headers.set('content-length', String(check.send.length));
    encoder.encodeHeaders(headers, check.send === undefined);
    if (check.send !== undefined) encoder.encodeData(check.send, true);
  }

  onAnswer(answer: Answer): void {
    if (answer !== this.#answer) return;
    this.#answer = undefined;
    this.#encoder = undefined;
    const running = this.#running;
    this.#running = false;
    const check = this.#check;
    if (running) {
      if (check.kind === 'grpc') this.#judgeGrpc(answer);
      else this.#judgeHttp(answer, check);
    }
    if (!this.#target.reuseConnection || this.#goneAway) this.#drop();
  }

  #judgeHttp({ headers, body }: Answer, check: Extract<Check, { readonly kind: 'http' }>): void {
    const { status } = headers;
    this.#callbacks.onExcluded(headers.getFirst('x-envoy-immediate-health-check-fail') !== undefined);
    if (!within(status, check.expected)) {
      this.#callbacks.onFailure('ACTIVE', within(status, check.retriable), status);
      return;
    }
    const service = headers.getFirst('x-envoy-upstream-healthchecked-cluster') ?? '';
    if (
      (check.serviceName !== undefined && !check.serviceName(service)) ||
      !containsAll(body, check.receive)
    ) {
      this.#callbacks.onFailure('ACTIVE', false, status);
      return;
    }
    this.#callbacks.onSuccess(headers.getFirst('x-envoy-degraded') !== undefined);
  }

  #judgeGrpc({ headers, trailers, body }: Answer): void {
    const status = trailers?.getFirst('grpc-status') ?? headers.getFirst('grpc-status');
    let serving = false;
    if (
      headers.status === 200 &&
      status === '0' &&
      body.length >= 5 &&
      body.length >= 5 + body.readUInt32BE(1)
    )
      try {
        const message = body.subarray(5, 5 + body.readUInt32BE(1));
        serving = fromBinary(HealthCheckResponseSchema, message).status === ServingStatus.SERVING;
      } catch {
        // Not the message that was asked for.
      }
    if (serving) this.#callbacks.onSuccess(false);
    else this.#callbacks.onFailure('ACTIVE', false);
  }

  onReset(answer: Answer): void {
    if (answer !== this.#answer) return;
    this.#answer = undefined;
    this.#encoder = undefined;
    this.#drop();
    this.#fail('NETWORK', true);
  }

  #fail(type: 'NETWORK', retriable: boolean): void {
    if (!this.#running) return;
    this.#running = false;
    this.#callbacks.onFailure(type, retriable);
  }

  onStreamEnd(): void {}

  onGoAway(): void {
    this.#goneAway = true;
    if (!this.#running) this.#drop();
  }

  onClose(): void {
    this.#connection = undefined;
    this.#encoder = undefined;
    this.#answer = undefined;
    this.#fail('NETWORK', true);
  }

  #drop(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.close();
  }

  abort(): void {
    this.#running = false;
    this.#dial?.cancel();
    this.#dial = undefined;
    this.#answer = undefined;
    this.#encoder?.reset(ResetReason.localReset);
    this.#encoder = undefined;
    this.#drop();
  }

  close(): void {
    this.abort();
  }
}
