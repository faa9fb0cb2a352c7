/**
 * TCP cases of the comparison: `tcp` (a stream, and 1 KiB messages to and fro), `connections` (new connections: plain, with a
 * full mutual TLS handshake, and through a pair of proxies that may resume sessions) and `idle` (memory of connections that say
 * nothing). CPU time and memory of the proxies' processes; the client is this process. Ours and Envoy read the same file.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, createSecureContext } from 'node:tls';
import type { Certificates } from './envoy_config.ts';
import { cpuNanoseconds, rssMib } from './process_cost.ts';

/** Names for `--cases`. */
export const tcpCaseNames: readonly string[] = ['tcp', 'connections', 'idle'];

export interface TcpBench {
  readonly cases: readonly string[];
  readonly rounds: number;
  /** Short run: figures are not judged. */
  readonly sanity: boolean;
  readonly directory: string;
  readonly certificates: Certificates;
  /** First of twenty free ports. */
  readonly basePort: number;
  /** Command lines by proxy, for a bootstrap file. */
  readonly commands: Readonly<Record<string, (file: string) => string[]>>;
  start(command: string[]): ChildProcess;
  stop(child: ChildProcess): Promise<void>;
  waitForPort(port: number, child: ChildProcess): Promise<void>;
}

const types = 'type.googleapis.com/envoy.extensions';
const at = (port: number): object => ({ socket_address: { address: '127.0.0.1', port_value: port } });

function tls(certificates: Certificates, name: string, more: object): object {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${types}.transport_sockets.tls.v3.${name}`,
      ...more,
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
        alpn_protocols: ['istio'],
        tls_certificates: [
          { certificate_chain: { filename: certificates.cert }, private_key: { filename: certificates.key } },
        ],
        validation_context: {
          trusted_ca: { filename: certificates.ca },
          match_typed_subject_alt_names: [
            { san_type: 'URI', matcher: { prefix: 'spiffe://cluster.local/' } },
          ],
        },
      },
    },
  };
}

/** One TCP listener in front of one cluster; TLS on the side that is named. */
function bootstrap(
  bench: TcpBench,
  port: number,
  upstream: number,
  side: 'none' | 'terminate' | 'originate',
): object {
  const filters = [
    {
      name: 'envoy.filters.network.tcp_proxy',
      typed_config: {
        '@type': `${types}.filters.network.tcp_proxy.v3.TcpProxy`,
        stat_prefix: 'b',
        cluster: 'c',
      },
    },
  ];
  const inspector = {
    name: 'envoy.filters.listener.tls_inspector',
    typed_config: { '@type': `${types}.filters.listener.tls_inspector.v3.TlsInspector` },
  };
  const down = tls(bench.certificates, 'DownstreamTlsContext', { require_client_certificate: true });
  const up = tls(bench.certificates, 'UpstreamTlsContext', { sni: 'outbound_.80_._.b' });
  const chain = side === 'terminate' ? { transport_socket: down, filters } : { filters };
  return {
    admin: { address: at(port + 10) },
    static_resources: {
      listeners: [
        {
          name: 'l',
          address: at(port),
          ...(side === 'terminate' ? { listener_filters: [inspector] } : {}),
          filter_chains: [chain],
        },
      ],
      clusters: [
        {
          name: 'c',
          type: 'STATIC',
          connect_timeout: '5s',
          ...(side === 'originate' ? { transport_socket: up } : {}),
          circuit_breakers: { thresholds: [{ max_connections: 100_000 }] },
          load_assignment: {
            cluster_name: 'c',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: at(upstream) } }] }],
          },
        },
      ],
    },
  };
}

/** `e` is answered byte for byte, `p` with one byte and an end, other bytes are only taken. */
async function startBackend(): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', (first: Buffer) => {
      if (first[0] === 112) socket.end('p');
      else if (first[0] === 101) socket.on('data', (data: Buffer) => void socket.write(data)).write(first);
      else socket.resume();
    });
    socket.on('end', () => socket.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

type Dial = () => Socket;

function dialPlain(port: number): Dial {
  return () => connect({ port, host: '127.0.0.1', noDelay: true }).on('error', () => {});
}

function dialTls(port: number, certificates: Certificates): Dial {
  const secureContext = createSecureContext({
    ca: readFileSync(certificates.ca),
    cert: readFileSync(certificates.cert),
    key: readFileSync(certificates.key),
    minVersion: 'TLSv1.3',
  });
  const options = { port, host: '127.0.0.1', secureContext, checkServerIdentity: () => undefined };
  return () => connectTls(options).on('error', () => {});
}

async function stream(dial: Dial, mib: number): Promise<void> {
  const socket = dial();
  const chunk = Buffer.alloc(256 * 1024, 1);
  for (let left = mib * 4; left > 0; left--) if (!socket.write(chunk)) await once(socket, 'drain');
  socket.end();
  await once(socket.resume(), 'close');
}

async function pingPong(dial: Dial, messages: number): Promise<void> {
  const socket = dial();
  const message = Buffer.alloc(1024, 101);
  for (let i = 0; i < messages; i++) {
    socket.write(message);
    for (let got = 0; got < message.length;) got += ((await once(socket, 'data')) as [Buffer])[0].length;
  }
  socket.end();
  await once(socket.resume(), 'close');
}

async function visit(dial: Dial): Promise<void> {
  const socket = dial();
  let answered = false;
  socket.on('data', () => (answered = true));
  socket.on('end', () => socket.end());
  socket.write('p');
  await once(socket, 'close');
  if (!answered) throw new Error('a connection was closed without an answer');
}

async function visits(dial: Dial, count: number): Promise<void> {
  for (let i = 0; i < count; i += 8) await Promise.all(Array.from({ length: 8 }, () => visit(dial)));
}

/** MiB that the proxies grow by for each 1000 connections that were made, used once and left open. */
async function idleGrowth(dial: Dial, proxies: readonly ChildProcess[], count: number): Promise<number> {
  const rss = (): number => proxies.reduce((sum, proxy) => sum + rssMib(proxy.pid ?? 0), 0);
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2000));
  await settle();
  const before = rss();
  const sockets: Socket[] = [];
  for (let i = 0; i < count; i += 100) {
    const some = Array.from({ length: 100 }, dial);
    sockets.push(...some);
    await Promise.all(some.map((socket) => (socket.write('e'), once(socket, 'data'))));
  }
  await settle();
  const grown = rss() - before;
  for (const socket of sockets) socket.destroy();
  return (grown * 1000) / count;
}

interface Figure {
  readonly name: string;
  readonly unit: string;
  /** Where the proxies stand: one, one that ends TLS, or two with mutual TLS between. */
  readonly shape: 'plain' | 'terminate' | 'pair';
  measure(dial: Dial, proxies: readonly ChildProcess[], cpu: () => number): Promise<number>;
}

function figures(bench: TcpBench): Figure[] {
  const scale = bench.sanity ? 0.02 : 1;
  const mib = Math.ceil(1024 * scale);
  const messages = Math.ceil(20_000 * scale);
  const connections = Math.ceil((1500 * scale) / 8) * 8;
  const idle = Math.ceil((5000 * scale) / 100) * 100;
  const list: Figure[] = [];
  const cost = (
    name: string,
    unit: string,
    shape: Figure['shape'],
    units: number,
    run: (dial: Dial, units: number) => Promise<void>,
  ): void =>
    void list.push({
      name,
      unit,
      shape,
      async measure(dial, _proxies, cpu) {
        // Warm-up: JIT, sessions, buffers. Proxies run for weeks.
        await run(dial, units);
        const before = cpu();
        await run(dial, units);
        return (cpu() - before) / units / 1000;
      },
    });
  if (bench.cases.includes('tcp'))
    for (const shape of ['plain', 'pair'] as const) {
      cost('stream', 'CPU µs/MiB', shape, mib, stream);
      cost('1 KiB to and fro', 'CPU µs/message', shape, messages, pingPong);
    }
  if (bench.cases.includes('connections')) {
    cost('new connection', 'CPU µs', 'plain', connections * 2, visits);
    cost('new connection, full handshake', 'CPU µs', 'terminate', connections, visits);
    cost('new connection, pair', 'CPU µs', 'pair', connections, visits);
  }
  if (bench.cases.includes('idle'))
    for (const shape of ['plain', 'pair'] as const)
      list.push({
        name: 'idle connections',
        unit: 'MiB/1000',
        shape,
        measure: (dial, proxies) => idleGrowth(dial, proxies, idle),
      });
  return list;
}

/** Runs what `cases` names, all proxies in each round; gives the rows it printed. */
export async function runTcpCases(bench: TcpBench): Promise<object[]> {
  const backend = await startBackend();
  const appPort = (backend.address() as AddressInfo).port;
  const { basePort: front } = bench;
  const back = front + 1;
  const results = new Map<string, number[]>();
  const list = figures(bench);
  const names = Object.keys(bench.commands);
  try {
    for (let round = 0; round < bench.rounds; round++)
      for (const figure of list)
        for (const name of names) {
          const shapes =
            figure.shape === 'pair'
              ? ([
                  [back, appPort, 'terminate'],
                  [front, back, 'originate'],
                ] as const)
              : ([[front, appPort, figure.shape === 'plain' ? 'none' : 'terminate']] as const);
          const proxies: ChildProcess[] = [];
          try {
            for (const [port, upstream, side] of shapes) {
              const file = join(bench.directory, `tcp-${name}-${side}.json`);
              writeFileSync(file, JSON.stringify(bootstrap(bench, port, upstream, side)));
              const child = bench.start(bench.commands[name]?.(file) ?? []);
              proxies.push(child);
              await bench.waitForPort(port, child);
            }
            const cpu = (): number => proxies.reduce((sum, proxy) => sum + cpuNanoseconds(proxy.pid ?? 0), 0);
            const dial = figure.shape === 'terminate' ? dialTls(front, bench.certificates) : dialPlain(front);
            const value = await figure.measure(dial, proxies, cpu);
            const key = `${figure.name}/${figure.shape}/${name}`;
            results.set(key, [...(results.get(key) ?? []), value]);
          } finally {
            for (const child of proxies) await bench.stop(child);
          }
        }
  } finally {
    backend.close();
  }
  const rows = list.flatMap((figure) => {
    const of = (name: string): number[] => results.get(`${figure.name}/${figure.shape}/${name}`) ?? [];
    const middle = (values: readonly number[]): number =>
      [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
    const rival = middle(of('envoy'));
    return names.map((name) => ({
      case: `${figure.name} (${figure.shape})`,
      proxy: name,
      [figure.unit]: Number(middle(of(name)).toPrecision(3)),
      'against Envoy': Number((middle(of(name)) / rival).toFixed(2)),
      rounds: of(name)
        .map((value) => value.toPrecision(3))
        .join(' '),
    }));
  });
  console.table(rows);
  return rows;
}
