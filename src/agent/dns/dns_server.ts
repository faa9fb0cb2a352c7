/**
 * The agent's DNS proxy: answers names of the mesh out of the name table, passes all else on to the servers of
 * resolv.conf. UDP and TCP on one address.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer, isIPv6, type AddressInfo, type Server, type Socket } from 'node:net';
import type { NameTable } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import type { Logger } from '#base/log.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { Endpoint } from '../options.ts';
import {
  isInternet,
  maxUdpBytes,
  minUdpBytes,
  parseQuery,
  rcode,
  recordType,
  writeAnswer,
  writeRefusal,
  type DnsQuery,
} from './message.ts';
import { NameLookup, type FoundName } from './name_table.ts';
import type { DnsUpstream } from './resolv_conf.ts';
import { forward } from './upstream.ts';

export interface DnsServerOptions {
  readonly endpoint: Endpoint;
  /** Namespace whose services are known by their bare names. */
  readonly namespace: string;
  /** DNS domain of the node. */
  readonly domain: string;
  readonly upstreams: readonly DnsUpstream[];
  readonly forwardParallel?: boolean;
  /** Limit for one upstream server, milliseconds. Default 5 000. */
  readonly upstreamTimeoutMs?: number;
  readonly metrics: MetricsRegistry;
  readonly log: Logger;
  /** In [0, 1); spreads load over the addresses of an answer. Default Math.random. */
  readonly random?: () => number;
}

/** Life of our answers in seconds, Istio's. */
const ttlS = 30;

/** Queries that wait for an upstream server at one time; more get SERVFAIL. */
const maxForwarded = 1000;

const maxTcpConnections = 200;
const tcpIdleMs = 10_000;
const maxTcpMessageBytes = 65_535;

/** Buckets in seconds. */
const durationBounds = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

type Transport = 'udp' | 'tcp';

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #log: Logger;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();
  #lookup: NameLookup | undefined;
  #table: NameTable | undefined;
  #forwarded = 0;

  constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#log = options.log.scope('dns');
    this.#udp = createSocket(isIPv6(options.endpoint.address) ? 'udp6' : 'udp4');
    this.#udp.on('message', (message, from) => void this.#onDatagram(message, from));
    this.#tcp = createServer((socket) => this.#onConnection(socket));
    this.#tcp.maxConnections = maxTcpConnections;
  }

  /** Listens on UDP and TCP with the same port; gives the port. */
  async listen(): Promise<number> {
    const { address, port } = this.#options.endpoint;
    await new Promise<void>((resolve, reject) => {
      this.#tcp.once('error', reject);
      this.#tcp.listen(port, address, resolve);
    });
    const bound = (this.#tcp.address() as AddressInfo).port;
    await new Promise<void>((resolve, reject) => {
      this.#udp.once('error', reject);
      this.#udp.bind(bound, address, resolve);
    });
    for (const socket of [this.#tcp, this.#udp]) {
      socket.removeAllListeners('error');
      socket.on('error', (error: Error) => this.#log.error('socket failed', { error }));
    }
    return bound;
  }

  /** Answers out of this table from now on. @throws RangeError when it is too large; the old one stays */
  setTable(table: NameTable): void {
    this.#lookup = new NameLookup(table, this.#options.namespace, this.#options.domain);
    this.#table = table;
    this.#log.debug('name table', { names: this.#lookup.size });
  }

  /** The table in use, for /debug/ndsz. */
  get table(): NameTable | undefined {
    return this.#table;
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => this.#udp.close(() => resolve())),
      new Promise<void>((resolve) => this.#tcp.close(() => resolve())),
    ]);
  }

  /** The answer to one message, undefined when it must not be answered. */
  async resolve(message: Buffer, transport: Transport): Promise<Buffer | undefined> {
    const parsed = parseQuery(message);
    if (parsed.kind === 'ignore') return undefined;
    if (parsed.kind === 'refuse') return writeRefusal(parsed.id, parsed.rcode);
    const { query } = parsed;
    this.#counter('requests_total', 'DNS queries.').inc();
    const limit = transport === 'tcp' ? maxTcpMessageBytes : (query.udpBytes ?? minUdpBytes);
    const isAddress = query.type === recordType.a || query.type === recordType.aaaa;
    const found = isAddress && isInternet(query) ? this.#lookup?.find(query.name) : undefined;
    if (found !== undefined) return this.#answer(query, found, limit);
    return this.#forward(message, query, transport, limit);
  }

  #answer(query: DnsQuery, found: FoundName, limit: number): Buffer {
    const addresses = [...(query.type === recordType.a ? found.v4 : found.v6)];
    const start = Math.floor((this.#options.random ?? Math.random)() * addresses.length);
    const rotated = [...addresses.slice(start), ...addresses.slice(0, start)];
    return writeAnswer(query, rcode.noError, { alias: found.alias, addresses: rotated, ttlS }, limit);
  }

  async #forward(message: Buffer, query: DnsQuery, protocol: Transport, limit: number): Promise<Buffer> {
    const { upstreams, forwardParallel = false, upstreamTimeoutMs = 5000 } = this.#options;
    // Without anybody to ask, what the mesh does not know does not exist.
    if (upstreams.length === 0) return writeAnswer(query, rcode.nxDomain, undefined, limit);
    if (this.#forwarded >= maxForwarded) return writeAnswer(query, rcode.servFail, undefined, limit);
    this.#forwarded++;
    const begin = performance.now();
    this.#counter('upstream_requests_total', 'DNS queries passed on.').inc();
    try {
      const answer = await forward(message, query, {
        servers: upstreams,
        parallel: forwardParallel,
        timeoutMs: upstreamTimeoutMs,
        protocol,
      });
      this.#options.metrics
        .histogram(
          'istio_agent_dns_upstream_request_duration_seconds',
          {},
          'Time until the answer of an upstream server.',
          durationBounds,
        )
        .observe((performance.now() - begin) / 1000);
      return answer;
    } catch (error) {
      this.#counter('upstream_failures_total', 'DNS queries that no upstream server answered.').inc();
      this.#log.debug('no answer from upstream', { name: query.name, error });
      return writeAnswer(query, rcode.servFail, undefined, limit);
    } finally {
      this.#forwarded--;
    }
  }

  #counter(name: string, help: string) {
    return this.#options.metrics.counter(`istio_agent_dns_${name}`, {}, help);
  }

  async #onDatagram(message: Buffer, from: RemoteInfo): Promise<void> {
    if (message.length > maxUdpBytes) return;
    const answer = await this.resolve(message, 'udp');
    if (answer === undefined) return;
    // A query may outlive the socket.
    try {
      this.#udp.send(answer, from.port, from.address, (error) => {
        if (error !== null) this.#log.debug('answer not sent', { error });
      });
    } catch (error) {
      this.#log.debug('answer not sent', { error });
    }
  }

  #onConnection(socket: Socket): void {
    this.#connections.add(socket);
    socket.setTimeout(tcpIdleMs, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#connections.delete(socket));
    let received: Buffer = Buffer.alloc(0);
    const drain = async (): Promise<void> => {
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        const message = received.subarray(2, end);
        received = received.subarray(end);
        const answer = await this.resolve(message, 'tcp');
        if (answer === undefined || socket.destroyed) return void socket.destroy();
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([length, answer]));
      }
      return undefined;
    };
    socket.on('data', (chunk: Buffer) => {
      // One message at a time: while one is being answered the kernel holds the rest.
      socket.pause();
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      void drain().then(() => socket.resume());
    });
  }
}
