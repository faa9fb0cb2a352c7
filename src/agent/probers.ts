/**
 * Probes of the kubelet that the injector has turned towards the agent (`ISTIO_KUBE_APP_PROBERS`): the agent asks the
 * application, so that mTLS does not stand between the kubelet and the probe.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from '#api/gen/grpc/health/v1/health_pb.ts';
import { INBOUND_PASSTHROUGH_SOURCE, INBOUND_PASSTHROUGH_SOURCE_V6 } from '#api/well_known.ts';
import { request as requestHttp } from '#base/node_http.ts';
import { GrpcClient } from '#xds/grpc_client.ts';

/** A header to send; Kubernetes `HTTPHeader`. */
interface ProbeHeader {
  readonly name: string;
  readonly value: string;
}

/** One probe; Kubernetes `HTTPGetAction`, `TCPSocketAction` or `GRPCAction` with its time limit. */
export interface AppProber {
  readonly http?: {
    readonly path: string;
    readonly port: number;
    readonly scheme: 'HTTP' | 'HTTPS';
    readonly headers: readonly ProbeHeader[];
  };
  readonly tcp?: { readonly port: number };
  readonly grpc?: { readonly port: number; readonly service: string };
  readonly timeoutMs: number;
  /** Address of the application. */
  readonly address: string;
}

export interface ProbeResult {
  /** Status for the kubelet: that of an HTTP probe, 200 for a good TCP or gRPC probe, 500 for any failure. */
  readonly status: number;
  readonly reason?: string;
}

/** Most redirects that are followed, as the kubelet does. */
const maxRedirects = 10;

/** Headers of one connection, not for the next hop. */
const hopHeaders = new Set([
  'connection',
  'host',
  'content-length',
  'transfer-encoding',
  'upgrade',
  'keep-alive',
]);

interface RawProber {
  readonly httpGet?: {
    readonly path?: string;
    readonly port?: unknown;
    readonly scheme?: string;
    readonly httpHeaders?: readonly { readonly name?: string; readonly value?: string }[];
  };
  readonly tcpSocket?: { readonly port?: unknown };
  readonly grpc?: { readonly port?: unknown; readonly service?: string };
  readonly timeoutSeconds?: number;
}

function portOf(value: unknown): number | undefined {
  const port = Number(value);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

/**
 * Reads `ISTIO_KUBE_APP_PROBERS`: a JSON object from path to probe. Probes of other kinds are returned in `unknown` by
 * their path.
 * @throws Error when the text is not a JSON object
 */
export function parseProbers(
  text: string,
  address: string,
): { readonly probers: Map<string, AppProber>; readonly unknown: string[] } {
  const probers = new Map<string, AppProber>();
  const unknown: string[] = [];
  const raw: unknown = JSON.parse(text);
  if (typeof raw !== 'object' || raw === null) throw new Error('not a JSON object');
  for (const [path, prober] of Object.entries(raw as Record<string, RawProber>)) {
    const timeoutMs = Math.max(1, prober.timeoutSeconds ?? 1) * 1000;
    const httpPort = portOf(prober.httpGet?.port);
    const tcpPort = portOf(prober.tcpSocket?.port);
    const grpcPort = portOf(prober.grpc?.port);
    if (prober.httpGet !== undefined && httpPort !== undefined) {
      const { path: target = '/', scheme, httpHeaders = [] } = prober.httpGet;
      probers.set(path, {
        http: {
          path: target.startsWith('/') ? target : `/${target}`,
          port: httpPort,
          scheme: scheme?.toUpperCase() === 'HTTPS' ? 'HTTPS' : 'HTTP',
          headers: httpHeaders.map(({ name = '', value = '' }) => ({ name, value })),
        },
        timeoutMs,
        address,
      });
    } else if (tcpPort !== undefined) probers.set(path, { tcp: { port: tcpPort }, timeoutMs, address });
    else if (grpcPort !== undefined) {
      probers.set(path, {
        grpc: { port: grpcPort, service: prober.grpc?.service ?? '' },
        timeoutMs,
        address,
      });
    } else unknown.push(path);
  }
  return { probers, unknown };
}

function failure(error: unknown): ProbeResult {
  return { status: 500, reason: error instanceof Error ? error.message : String(error) };
}

/** Runs one probe; `headers` are those of the kubelet's request. */
export async function probe(prober: AppProber, headers: IncomingHttpHeaders): Promise<ProbeResult> {
  try {
    if (prober.tcp !== undefined) {
      await probeTcp(prober.address, prober.tcp.port, prober.timeoutMs);
      return { status: 200 };
    }
    if (prober.grpc !== undefined) return await probeGrpc(prober, prober.grpc);
    return prober.http === undefined ? failure('no probe') : await probeHttp(prober, prober.http, headers);
  } catch (error) {
    return failure(error);
  }
}

/**
 * Where a probe comes from: the address that capture lets pass to the application, so that the sidecar's own inbound side,
 * which may insist on mutual TLS, does not stand between. Only addresses of this machine can be asked from it.
 */
function sourceFor(address: string): { localAddress?: string } {
  if (address.startsWith('127.')) return { localAddress: INBOUND_PASSTHROUGH_SOURCE };
  const own = new Set(
    Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.address)),
  );
  if (!own.has(address)) return {};
  if (!address.includes(':')) return { localAddress: INBOUND_PASSTHROUGH_SOURCE };
  return own.has(INBOUND_PASSTHROUGH_SOURCE_V6) ? { localAddress: INBOUND_PASSTHROUGH_SOURCE_V6 } : {};
}

function probeTcp(address: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, ...sourceFor(address) });
    const timer = setTimeout(() => socket.destroy(new Error(`not connected in ${timeoutMs} ms`)), timeoutMs);
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
    socket.once('close', () => clearTimeout(timer));
  });
}

const healthCheckPath = '/grpc.health.v1.Health/Check';

/** gRPC health checking protocol; the kubelet's probes are in plaintext. */
async function probeGrpc(
  prober: AppProber,
  { port, service }: NonNullable<AppProber['grpc']>,
): Promise<ProbeResult> {
  const client = new GrpcClient({
    address: { host: prober.address, port },
    ...sourceFor(prober.address),
    connectTimeoutMs: prober.timeoutMs,
  });
  try {
    const request = toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service }));
    const answer = await client.unary(healthCheckPath, request, {}, prober.timeoutMs);
    const { status } = fromBinary(HealthCheckResponseSchema, answer);
    const serving = status === HealthCheckResponse_ServingStatus.SERVING;
    return serving ? { status: 200 } : failure(`the application is in serving status ${status}`);
  } finally {
    client.close();
  }
}

async function probeHttp(
  prober: AppProber,
  http: NonNullable<AppProber['http']>,
  incoming: IncomingHttpHeaders,
): Promise<ProbeResult> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(incoming)) {
    if (value !== undefined && !hopHeaders.has(name)) headers[name] = value;
  }
  for (const { name, value } of http.headers) headers[name.toLowerCase()] = value;
  const signal = AbortSignal.timeout(prober.timeoutMs);
  const base = `${http.scheme.toLowerCase()}://${prober.address.includes(':') ? `[${prober.address}]` : prober.address}:${http.port}`;
  let url = new URL(`${base}${http.path}`);
  const host = url.host;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const response = await get(url, headers, prober.address, signal);
    const { location } = response.headers;
    const status = response.statusCode ?? 500;
    response.resume();
    if (status < 300 || status >= 400 || location === undefined) return { status };
    const next = new URL(location, url);
    // A redirect to another host says that the application answers, as the kubelet has it.
    if (next.host !== host || !/^https?:$/.test(next.protocol)) return { status };
    url = next;
  }
  return failure('too many redirects');
}

function get(
  url: URL,
  headers: Record<string, string | string[]>,
  address: string,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = {
      headers: { ...headers, connection: 'close' },
      agent: false,
      signal,
      ...sourceFor(address),
    };
    // The kubelet does not verify certificates of probes either.
    const call =
      url.protocol === 'https:'
        ? requestHttps(url, { ...options, rejectUnauthorized: false }, resolve)
        : requestHttp(url, options, resolve);
    call.on('error', reject);
    call.end();
  });
}
