/**
 * An application behind our data plane in three ways, from one process: plain (`plain`), through a pair of listeners with
 * mutual TLS between them as two sidecars have it (`mesh`), and by Envoy's client side or server side where it is there.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/proxy/server/testing.ts';
import { TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { type DataPlane, dataPlaneCommand } from '../harness/conformance.ts';
import { send } from '../harness/http_request.ts';

const types = 'type.googleapis.com/envoy.extensions';

export interface TcpPair {
  /** Ports of listeners that lead to the application. */
  readonly ports: { readonly plain: number; readonly mesh: number; readonly mutualTls: number };
  /** Text of the admin server's `/stats`. */
  stats(): Promise<string>;
  stop(): Promise<void>;
}

function at(port: number): object {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}

function tls(directory: string, name: 'DownstreamTlsContext' | 'UpstreamTlsContext', more: object): object {
  const file = (path: string) => ({ filename: join(directory, path) });
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${types}.transport_sockets.tls.v3.${name}`,
      ...more,
      common_tls_context: {
        alpn_protocols: ['istio'],
        tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
        tls_certificates: [{ certificate_chain: file('cert.pem'), private_key: file('key.pem') }],
        validation_context: {
          trusted_ca: file('ca.pem'),
          match_typed_subject_alt_names: [
            { san_type: 'URI', matcher: { prefix: 'spiffe://cluster.local/' } },
          ],
        },
      },
    },
  };
}

function listener(
  name: string,
  port: number,
  cluster: string,
  more: object = {},
  extra: object = {},
): object {
  return {
    name,
    address: at(port),
    ...extra,
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.tcp_proxy',
            typed_config: {
              '@type': `${types}.filters.network.tcp_proxy.v3.TcpProxy`,
              stat_prefix: name,
              cluster,
            },
          },
        ],
        ...more,
      },
    ],
  };
}

function cluster(name: string, port: number, more: object = {}): object {
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: at(port) } }] }];
  return { name, type: 'STATIC', load_assignment: { cluster_name: name, endpoints }, ...more };
}

/** @param appPort where the application listens on loopback. */
export async function startTcpPair(appPort: number, dataPlane: DataPlane = 'trysail'): Promise<TcpPair> {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-tcp-'));
  const authority = new TestAuthority('cluster.local');
  const identity = authority.issue('URI:spiffe://cluster.local/ns/default/sa/tcp');
  writeFileSync(join(directory, 'ca.pem'), authority.cert);
  writeFileSync(join(directory, 'cert.pem'), identity.cert);
  writeFileSync(join(directory, 'key.pem'), identity.key);
  authority.close();
  const admin = await freePort();
  const ports = { plain: await freePort(), mesh: await freePort(), mutualTls: await freePort() };
  const inspector = {
    listener_filters: [
      {
        name: 'envoy.filters.listener.tls_inspector',
        typed_config: { '@type': `${types}.filters.listener.tls_inspector.v3.TlsInspector` },
      },
    ],
  };
  const file = join(directory, 'bootstrap.json');
  writeFileSync(
    file,
    JSON.stringify({
      admin: { address: at(admin) },
      static_resources: {
        listeners: [
          listener('plain', ports.plain, 'app'),
          listener('out', ports.mesh, 'peer'),
          listener(
            'in',
            ports.mutualTls,
            'app',
            {
              transport_socket: tls(directory, 'DownstreamTlsContext', { require_client_certificate: true }),
            },
            inspector,
          ),
        ],
        clusters: [
          cluster('app', appPort),
          cluster('peer', ports.mutualTls, {
            transport_socket: tls(directory, 'UpstreamTlsContext', { sni: 'outbound_.6379_._.app' }),
          }),
        ],
      },
    }),
  );
  const [command = '', ...args] = dataPlaneCommand(dataPlane, file);
  const log = openSync(join(directory, 'proxy.log'), 'a');
  const child: ChildProcess = spawn(command, args, { stdio: ['ignore', log, log] });
  const deadline = performance.now() + 60_000;
  for (;;) {
    if (child.exitCode !== null) throw new Error(readFileSync(join(directory, 'proxy.log'), 'utf8'));
    const ready = await send(admin, '/ready').catch(() => undefined);
    if (ready?.status === 200) break;
    if (performance.now() > deadline) throw new Error('the proxy is not ready');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    ports,
    stats: async () => (await send(admin, '/stats')).body,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        await gone;
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
