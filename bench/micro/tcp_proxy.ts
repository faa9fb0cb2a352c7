/**
 * What TCP costs a proxy: bytes through tcp_proxy and short connections, plain and behind mTLS, in CPU time of the proxy's
 * process. Ours (one event loop, no admin) and Envoy in the same run.
 *
 *   node bench/micro/tcp_proxy.ts [--only trysail,envoy] [--mib 600] [--connections 1500]
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createSecureContext } from 'node:tls';
import { parseArgs } from 'node:util';
import { cpuNanoseconds } from '../compare/process_cost.ts';
import { findEnvoy } from '../compare/rivals.ts';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: 'trysail,envoy' },
    mib: { type: 'string', default: '600' },
    connections: { type: 'string', default: '1500' },
    proxy: { type: 'string' },
  },
});

const tcpType = 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy';
const tlsType = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext';
const inspectorType = 'type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector';

function bootstrap(plainPort: number, tlsPort: number, serverPort: number, folder: string): object {
  const at = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } });
  const filters = [
    {
      name: 'envoy.filters.network.tcp_proxy',
      typed_config: { '@type': tcpType, stat_prefix: 'bench', cluster: 'c' },
    },
  ];
  const file = (name: string) => ({ filename: join(folder, name) });
  const context = {
    '@type': tlsType,
    require_client_certificate: true,
    common_tls_context: {
      tls_certificates: [{ certificate_chain: file('leaf.pem'), private_key: file('leaf.key') }],
      validation_context: { trusted_ca: file('ca.pem') },
    },
  };
  return {
    static_resources: {
      listeners: [
        { name: 'plain', address: at(plainPort), filter_chains: [{ filters }] },
        {
          name: 'tls',
          address: at(tlsPort),
          listener_filters: [
            { name: 'envoy.filters.listener.tls_inspector', typed_config: { '@type': inspectorType } },
          ],
          filter_chains: [
            {
              filter_chain_match: { transport_protocol: 'tls' },
              transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: context },
              filters,
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'c',
          type: 'STATIC',
          connect_timeout: '1s',
          load_assignment: {
            cluster_name: 'c',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: at(serverPort) } }] }],
          },
        },
      ],
    },
  };
}

/** The proxy's half: listeners and clusters of a bootstrap, nothing else. */
async function runProxy(file: string): Promise<void> {
  const { fromJson } = await import('@bufbuild/protobuf');
  const { BootstrapSchema } = await import('#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts');
  const { createTypeRegistry } = await import('#api/registry.ts');
  const { ListenerManager } = await import('#proxy/listener_manager/listener_manager.ts');
  const { testContext } = await import('#proxy/listener_manager/testing.ts');
  const { noSecrets } = await import('#proxy/network/secret.ts');
  const { ExtensionRegistry } = await import('#proxy/registry.ts');
  const { LiveClusterManager } = await import('#proxy/upstream/cluster_manager.ts');
  const { roundRobin } = await import('#proxy/load_balancing_policies/round_robin/round_robin.ts');
  const { downstreamTls } = await import('#proxy/transport_sockets/tls/downstream.ts');
  const { tlsInspector } = await import('#proxy/filters/listener/tls_inspector/tls_inspector.ts');
  const { tcpProxy } = await import('#proxy/filters/network/tcp_proxy/config.ts');
  const lists = {
    network_filter: [tcpProxy],
    listener_filter: [tlsInspector],
    load_balancing_policy: [roundRobin],
    'transport_socket.downstream': [downstreamTls],
  };
  const sockets = { secrets: noSecrets };
  const config = fromJson(BootstrapSchema, JSON.parse(readFileSync(file, 'utf8')), {
    registry: createTypeRegistry(),
  });
  const clusterManager = new LiveClusterManager({ registry: new ExtensionRegistry(lists), sockets });
  for (const cluster of config.staticResources?.clusters ?? []) clusterManager.stage(cluster).activate();
  const listeners = new ListenerManager({ sockets });
  for (const listener of config.staticResources?.listeners ?? [])
    listeners.stage(listener, testContext(lists, { clusterManager })).activate((error) => {
      if (error !== undefined) throw error;
    });
}

const folder = mkdtempSync(join(tmpdir(), 'trysail-tcp-'));

function makeCertificates(): void {
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/O=bench');
  openssl('req', ...key, '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', '/');
  writeFileSync(join(folder, 'ext'), 'subjectAltName=critical,URI:spiffe://cluster.local/ns/a/sa/a\n');
  const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', '1', '-extfile', 'ext', '-days', '2'];
  openssl('x509', '-req', '-in', 'leaf.csr', '-out', 'leaf.pem', ...signer);
}

async function waitFor(port: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (open === true) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the proxy does not listen');
}

async function measure(name: string): Promise<void> {
  // `p` is answered and closed; everything else is only counted.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (data: Buffer) => void (data[0] === 112 && socket.end('p')));
    socket.on('end', () => socket.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const plainPort = 20_000 + Math.floor(Math.random() * 10_000);
  const file = join(folder, `${name}.json`);
  const { port } = server.address() as AddressInfo;
  writeFileSync(file, JSON.stringify(bootstrap(plainPort, plainPort + 1, port, folder)));
  const command =
    name === 'envoy'
      ? [findEnvoy() ?? 'envoy', '-c', file, '--concurrency', '1', '--use-dynamic-base-id', '-l', 'error']
      : [process.execPath, import.meta.filename, '--proxy', file];
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    await waitFor(plainPort + 1);
    const identity = {
      key: readFileSync(join(folder, 'leaf.key')),
      cert: readFileSync(join(folder, 'leaf.pem')),
    };
    const secureContext = createSecureContext({
      ...identity,
      ca: readFileSync(join(folder, 'ca.pem')),
      minVersion: 'TLSv1.3',
    });
    const dial = (tls: boolean): Socket => {
      const socket = tls
        ? connectTls({
            port: plainPort + 1,
            host: '127.0.0.1',
            secureContext,
            checkServerIdentity: () => undefined,
          })
        : connect(plainPort, '127.0.0.1');
      return socket.on('error', () => {});
    };
    const bulk = async (tls: boolean, mib: number): Promise<void> => {
      const socket = dial(tls);
      const chunk = Buffer.alloc(256 * 1024, 1);
      await once(socket, tls ? 'secureConnect' : 'connect');
      for (let left = mib * 4; left > 0; left--) if (!socket.write(chunk)) await once(socket, 'drain');
      socket.end();
      await once(socket.resume(), 'close');
    };
    const short = async (tls: boolean): Promise<void> => {
      const socket = dial(tls);
      socket.write('p');
      await once(socket.resume(), 'end');
      socket.end();
      await once(socket, 'close');
    };
    const pid = child.pid ?? 0;
    for (const tls of [false, true]) {
      await bulk(tls, 100);
      const mib = Number(flags.mib);
      const before = cpuNanoseconds(pid);
      await bulk(tls, mib);
      print(name, `${tls ? 'mTLS ' : 'plain'} µs per MiB`, (cpuNanoseconds(pid) - before) / 1e3 / mib);
    }
    for (const tls of [false, true]) {
      for (let i = 0; i < 200; i++) await short(tls);
      const count = Number(flags.connections);
      const before = cpuNanoseconds(pid);
      for (let i = 0; i < count / 8; i++) await Promise.all(Array.from({ length: 8 }, () => short(tls)));
      print(
        name,
        `${tls ? 'mTLS ' : 'plain'} µs per connection`,
        (cpuNanoseconds(pid) - before) / 1e3 / count,
      );
    }
  } finally {
    child.kill('SIGKILL');
    server.close();
  }
}

function print(name: string, what: string, value: number): void {
  process.stdout.write(`${name.padEnd(8)} ${what.padEnd(26)} ${value.toFixed(0)}\n`);
}

if (flags.proxy !== undefined) await runProxy(flags.proxy);
else {
  makeCertificates();
  for (const name of flags.only.split(',')) await measure(name);
  rmSync(folder, { recursive: true, force: true });
  process.exit();
}
