/** Fixtures of this room's tests: cluster messages, servers with a script, contexts. */
import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import type { TestContext } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { type Cluster, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import {
  type ClusterLoadAssignment,
  ClusterLoadAssignmentSchema,
} from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import type { RequestEncoder, ResetReason, ResponseDecoder } from '../http/codec.ts';
import { RequestHeaderMap, type ResponseHeaderMap } from '../http/header_map.ts';
import type { TlsInfo } from '../network/connection.ts';
import type { HttpConnectionPool, HttpPoolCallbacks, LoadBalancerContext } from './upstream.ts';

export type ClusterInit = NonNullable<Parameters<typeof create<typeof ClusterSchema>>[1]>;

/** An endpoint as `ip:port`, with more fields of LbEndpoint. */
export interface EndpointInit {
  readonly at: string;
  readonly priority?: number;
  readonly more?: object;
}

export function assignment(clusterName: string, endpoints: readonly EndpointInit[]): ClusterLoadAssignment {
  return create(ClusterLoadAssignmentSchema, {
    clusterName,
    endpoints: endpoints.map(({ at, priority = 0, more = {} }) => {
      const colon = at.lastIndexOf(':');
      return {
        priority,
        lbEndpoints: [
          {
            ...more,
            hostIdentifier: {
              case: 'endpoint',
              value: {
                address: {
                  address: at.startsWith('/')
                    ? { case: 'pipe', value: { path: at } }
                    : {
                        case: 'socketAddress',
                        value: {
                          address: at.slice(0, colon),
                          portSpecifier: { case: 'portValue', value: Number(at.slice(colon + 1)) },
                        },
                      },
                },
              },
            },
          },
        ],
      };
    }),
  } as never);
}

export function staticCluster(endpoints: readonly string[], more: ClusterInit = {}): Cluster {
  return create(ClusterSchema, {
    name: 'c',
    loadAssignment: assignment(
      'c',
      endpoints.map((at) => ({ at })),
    ),
    ...more,
  } as never);
}

/** A server on a free port of 127.0.0.1; closes with its connections after the test. */
export async function serve(
  t: TestContext,
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; port: number; at: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return { server, port, at: `127.0.0.1:${port}`, sockets };
}

/** Answers every request head with 200 and the given body. */
export function answering(body: string): (socket: Socket) => void {
  return (socket) => {
    socket.on('data', (data: Buffer) => {
      const heads = data.toString('latin1').split('\r\n\r\n').length - 1;
      for (let i = 0; i < heads; i++)
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    });
    socket.on('end', () => socket.end());
  };
}

export function loadContext(more: Partial<LoadBalancerContext> = {}): LoadBalancerContext {
  return {
    hash: undefined,
    metadataMatch: undefined,
    downstream: undefined,
    requestHeaders: undefined,
    shouldSelectAnotherHost: () => false,
    hostSelectionRetryCount: 0,
    ...more,
  };
}

/** What one request came to. */
export interface Outcome {
  status?: number;
  body?: string;
  reset?: string;
  failure?: string;
  transportFailure?: string;
  tls?: TlsInfo | undefined;
  connectionId?: number;
  reused?: boolean;
}

/** Sends one GET through a pool. `onReady` may keep the encoder and hold the request back. */
export function request(
  pool: HttpConnectionPool,
  hooks: { onReady?: (encoder: RequestEncoder) => void; onHeaders?: () => void } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const outcome: Outcome = {};
    let body = '';
    const decoder: ResponseDecoder = {
      decode1xxHeaders() {},
      decodeHeaders(headers: ResponseHeaderMap, endStream) {
        outcome.status = headers.status;
        hooks.onHeaders?.();
        if (endStream) resolve({ ...outcome, body });
      },
      decodeData(data, endStream) {
        body += data.toString();
        if (endStream) resolve({ ...outcome, body });
      },
      decodeTrailers() {
        resolve({ ...outcome, body });
      },
      onResetStream(reason: ResetReason) {
        resolve({ ...outcome, reset: reason });
      },
      onAboveWriteBufferHighWatermark() {},
      onBelowWriteBufferLowWatermark() {},
    };
    const callbacks: HttpPoolCallbacks = {
      onPoolReady(encoder, _host, _connection, tls, connectionId, reused) {
        Object.assign(outcome, { tls, connectionId, reused });
        const headers = new RequestHeaderMap();
        Object.assign(headers, { method: 'GET', path: '/', scheme: 'http', authority: 'x' });
        if (hooks.onReady !== undefined) hooks.onReady(encoder);
        else encoder.encodeHeaders(headers, true);
      },
      onPoolFailure(failure, transportFailure) {
        resolve({ failure, transportFailure });
      },
    };
    pool.newStream(decoder, callbacks);
  });
}

/** A request head for `onReady` hooks. */
export function getHeaders(): RequestHeaderMap {
  const headers = new RequestHeaderMap();
  return Object.assign(headers, { method: 'GET', path: '/', scheme: 'http', authority: 'x' });
}

export async function until(condition: () => boolean, what = 'condition', timeoutMs = 2000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
