/** The soak itself: one proxy process, a control plane over gRPC that changes things all the time, mixed traffic, samples. */
import { once } from 'node:events';
import { type ServerHttp2Stream, createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JsonValue } from '@bufbuild/protobuf';
import {
  TestControlPlane,
  assignment,
  edsCluster,
  freePort,
  httpListener,
  routesTo,
} from '../../src/proxy/server/testing.ts';
import { TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { registerAds } from '../../src/xds/server/discovery_services.ts';
import { GrpcServer } from '../../src/xds/server/grpc_server.ts';
import { typeUrls } from '../../src/xds/type_url.ts';
import { DataPlaneProcess, adminYaml } from '../fault/data_plane.ts';
import { EchoBackend } from '../harness/echo_backend.ts';
import { Load, grpcTraffic, http1Traffic, http2Traffic, tcpTraffic, tlsTraffic } from './clients.ts';

export interface SoakOptions {
  readonly minutes: number;
  /** Memory is compared from here on. */
  readonly warmUpMinutes: number;
  readonly concurrency: number;
  /** Most that memory may grow from the first to the last quarter after the warm-up, MiB. */
  readonly maxGrowthMib: number;
  readonly say: (line: string) => void;
}

export interface SoakReport {
  readonly failures: readonly string[];
  readonly growthMib: number;
}

/** Time between two changes of the configuration, and between two samples, milliseconds. */
const churnMs = 250;
const sampleMs = 1_000;

interface Ports {
  readonly in: number;
  readonly secure: number;
  readonly tcp: number;
}

function bootstrap(xdsPath: string): string {
  return `${adminYaml}
node: { id: soak, cluster: soak }
dynamic_resources:
  ads_config: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{ envoy_grpc: { cluster_name: xds } }] }
  cds_config: { ads: {}, resource_api_version: V3 }
  lds_config: { ads: {}, resource_api_version: V3 }
static_resources:
  clusters:
    - name: xds
      type: STATIC
      http2_protocol_options: {}
      load_assignment: { cluster_name: xds, endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: '${xdsPath}' } } } }] }] }
`;
}

function tcpListener(port: number, idleSeconds: number): JsonValue {
  const typed = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
    stat_prefix: 'tcp',
    cluster: 'tcp',
    idle_timeout: `${idleSeconds}s`,
  };
  return {
    name: 'tcp',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.tcp_proxy', typed_config: typed }] }],
  };
}

function secureListener(port: number, serverName: string): JsonValue {
  const listener = httpListener('secure', port, 'routes', { hcm: { server_name: serverName } }) as {
    filter_chains: Record<string, JsonValue>[];
  };
  for (const chain of listener.filter_chains)
    chain['transport_socket'] = {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
        common_tls_context: {
          tls_certificate_sds_secret_configs: [
            { name: 'own', sds_config: { ads: {}, resource_api_version: 'V3' } },
          ],
        },
      },
    };
  return listener as unknown as JsonValue;
}

/** gRPC calls to one cluster, the rest to one of two. */
function routes(cluster: string): JsonValue {
  const all = routesTo('routes', cluster) as { virtual_hosts: { routes: JsonValue[] }[] };
  all.virtual_hosts[0]?.routes.unshift({
    match: { prefix: '/soak.Echo/', grpc: {} },
    route: { cluster: 'grpc' },
  });
  return all as unknown as JsonValue;
}

/** Applications: HTTP, gRPC, bytes. */
async function startApplications(): Promise<{
  http: number;
  grpc: number;
  tcp: number;
  stop(): Promise<void>;
}> {
  const http = await EchoBackend.start('app');
  const grpc = createHttp2Server();
  grpc.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.pipe(stream);
  });
  const sessions = new Set<{ destroy(): void }>();
  grpc.on('session', (session) => sessions.add(session));
  const tcp = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  for (const server of [grpc, tcp]) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  return {
    http: http.port,
    grpc: (grpc.address() as AddressInfo).port,
    tcp: (tcp.address() as AddressInfo).port,
    async stop() {
      for (const session of sessions) session.destroy();
      grpc.close();
      tcp.close();
      await http.stop();
    },
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** Growth from the first quarter to the last, by medians. */
export function growthOf(samples: readonly number[]): number {
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  return median(samples.slice(-quarter)) - median(samples.slice(0, quarter));
}

/** Runs the soak. Rejects when the proxy does not start. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { say } = options;
  const directory = mkdtempSync(join(tmpdir(), 'trysail-soak-'));
  const applications = await startApplications();
  const authority = new TestAuthority('soak');
  const certificates = [authority.issue('DNS:a'), authority.issue('DNS:b')];
  authority.close();
  const ports: Ports = { in: await freePort(), secure: await freePort(), tcp: await freePort() };
  const plane = new TestControlPlane();
  const change = (i: number): void => {
    const { cert, key } = certificates[Math.floor(i / 6) % 2] ?? { cert: '', key: '' };
    switch (i % 6) {
      case 0:
        plane.set(typeUrls.rds, 'routes', routes(i % 12 === 0 ? 'a' : 'b'));
        return;
      case 1:
        plane.set(
          typeUrls.lds,
          'in',
          httpListener('in', ports.in, 'routes', { hcm: { server_name: `s${i % 50}` } }),
        );
        return;
      case 2:
        plane.set(typeUrls.cds, 'a', edsCluster('a', { connect_timeout: `${2 + (i % 7)}s` }));
        return;
      case 3:
        plane.set(typeUrls.sds, 'own', {
          name: 'own',
          tls_certificate: {
            certificate_chain: { inline_string: cert },
            private_key: { inline_string: key },
          },
        });
        return;
      case 4:
        plane.set(typeUrls.lds, 'secure', secureListener(ports.secure, `s${i % 50}`));
        return;
      default:
        plane.set(typeUrls.lds, 'tcp', tcpListener(ports.tcp, 600 + (i % 50)));
    }
  };
  for (const name of ['a', 'b']) plane.set(typeUrls.cds, name, edsCluster(name));
  plane
    .set(typeUrls.cds, 'grpc', edsCluster('grpc', { http2_protocol_options: {} }))
    .set(typeUrls.cds, 'tcp', edsCluster('tcp'))
    .set(typeUrls.eds, 'a', assignment('a', applications.http))
    .set(typeUrls.eds, 'b', assignment('b', applications.http))
    .set(typeUrls.eds, 'grpc', assignment('grpc', applications.grpc))
    .set(typeUrls.eds, 'tcp', assignment('tcp', applications.tcp));
  for (let i = 0; i < 6; i++) change(i);
  await plane.push();
  const xds = new GrpcServer({ routes: (router) => registerAds(router, plane.server) });
  await xds.listen({ path: join(directory, 'xds') });
  const stop = new AbortController();
  let proxy: DataPlaneProcess | undefined;
  try {
    const started = await DataPlaneProcess.start('trysail', {
      yaml: bootstrap(join(directory, 'xds')),
      concurrency: options.concurrency,
    });
    proxy = started;
    const loads = [
      new Load(http1Traffic(ports.in), 8, 10, stop.signal),
      new Load(tlsTraffic(ports.secure), 4, 20, stop.signal),
      new Load(http2Traffic(ports.in), 8, 20, stop.signal),
      new Load(grpcTraffic(ports.in), 4, 20, stop.signal),
      new Load(tcpTraffic(ports.tcp), 4, 20, stop.signal),
    ];
    const rss: number[] = [];
    const descriptors: number[] = [];
    const endMs = performance.now() + options.minutes * 60_000;
    const warmMs = performance.now() + options.warmUpMinutes * 60_000;
    let changes = 6;
    let nextSampleMs = 0;
    let lines = 0;
    while (performance.now() < endMs && !started.exited) {
      change(changes++);
      await plane.push();
      await sleep(churnMs);
      if (performance.now() < nextSampleMs) continue;
      nextSampleMs = performance.now() + sampleMs;
      if (performance.now() >= warmMs) {
        rss.push(started.rss());
        descriptors.push(started.descriptors());
      }
      if (lines++ % 10 === 0)
        say(
          `${((endMs - performance.now()) / 1000).toFixed(0)} s left: ${started.rss().toFixed(0)} MiB, ` +
            `${started.descriptors()} descriptors, ${changes} changes, ` +
            loads.map(({ traffic, rounds }) => `${traffic.name} ${rounds}`).join(', '),
        );
    }
    const died = started.exited ? [`the proxy ended:\n${started.log()}`] : [];
    stop.abort();
    if (died.length === 0) await Promise.all(loads.map((load) => load.done()));
    return judge(options, { loads, rss, descriptors, nacks: plane.nacks, died, say });
  } finally {
    stop.abort();
    await proxy?.stop();
    await xds.close();
    await applications.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Evidence {
  readonly loads: readonly Load[];
  readonly rss: readonly number[];
  readonly descriptors: readonly number[];
  readonly nacks: readonly string[];
  readonly died: readonly string[];
  readonly say: (line: string) => void;
}

function judge(options: SoakOptions, { loads, rss, descriptors, nacks, died, say }: Evidence): SoakReport {
  const failures = [...died, ...nacks.map((nack) => `refused: ${nack}`)];
  for (const { traffic, rounds, failures: wrong } of loads) {
    if (rounds === 0) failures.push(`${traffic.name}: no round was whole`);
    for (const [message, count] of wrong) failures.push(`${traffic.name}: ${count} of ${rounds}: ${message}`);
  }
  const growthMib = growthOf(rss);
  const grownDescriptors = growthOf(descriptors);
  say(
    `after the warm-up: RSS ${median(rss).toFixed(1)} MiB in the middle, grown by ${growthMib.toFixed(1)} MiB; ` +
      `descriptors grown by ${grownDescriptors}; ${rss.length} samples`,
  );
  if (!(growthMib <= options.maxGrowthMib))
    failures.push(`memory grew by ${growthMib.toFixed(1)} MiB, allowed are ${options.maxGrowthMib}`);
  if (!(grownDescriptors <= 30)) failures.push(`descriptors grew by ${grownDescriptors}`);
  return { failures, growthMib };
}
