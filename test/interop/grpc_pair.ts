/**
 * A gRPC server behind our data plane in two ways, from one process: plain (`plain`), and through a pair of listeners with
 * mutual TLS between them as two sidecars have it (`mesh`). Timeouts, retries and filters as Istio's control plane sets them.
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

export interface GrpcPair {
  /** Ports of listeners that lead to the server. */
  readonly ports: { readonly plain: number; readonly mesh: number };
  /** Value of a counter or gauge by Envoy's name; 0 when it is not there. */
  stat(name: string): Promise<number>;
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
        alpn_protocols: name === 'DownstreamTlsContext' ? ['h2', 'http/1.1'] : ['istio', 'h2'],
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

const retryPolicy = {
  retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes',
  num_retries: 2,
};

function filter(name: string, type: string, more: object = {}): object {
  return {
    name: `envoy.filters.http.${name}`,
    typed_config: { '@type': `${types}.filters.http.${name}.v3.${type}`, ...more },
  };
}

function listener(name: string, port: number, cluster: string, more: object = {}): object {
  return {
    name,
    address: at(port),
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type': `${types}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
              stat_prefix: name,
              stream_idle_timeout: '0s',
              route_config: {
                name,
                virtual_hosts: [
                  {
                    name,
                    domains: ['*'],
                    routes: [
                      {
                        match: { prefix: '/' },
                        route: {
                          cluster,
                          timeout: '0s',
                          max_stream_duration: { max_stream_duration: '0s', grpc_timeout_header_max: '0s' },
                          ...(name === 'in' ? {} : { retry_policy: retryPolicy }),
                        },
                      },
                    ],
                  },
                ],
              },
              http_filters: [
                filter('grpc_web', 'GrpcWeb'),
                filter('grpc_stats', 'FilterConfig', { emit_filter_state: true }),
                filter('router', 'Router'),
              ],
            },
          },
        ],
        ...more,
      },
    ],
  };
}

const http2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${types}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

function cluster(name: string, port: number, more: object = {}): object {
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: at(port) } }] }];
  return {
    name,
    type: 'STATIC',
    load_assignment: { cluster_name: name, endpoints },
    circuit_breakers: { thresholds: [{ max_requests: 100_000, max_pending_requests: 100_000 }] },
    ...http2,
    ...more,
  };
}

/** @param appPort where the gRPC server listens on loopback. */
export async function startGrpcPair(appPort: number, dataPlane: DataPlane = 'trysail'): Promise<GrpcPair> {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-grpc-'));
  const authority = new TestAuthority('cluster.local');
  const identity = authority.issue('URI:spiffe://cluster.local/ns/default/sa/grpc');
  writeFileSync(join(directory, 'ca.pem'), authority.cert);
  writeFileSync(join(directory, 'cert.pem'), identity.cert);
  writeFileSync(join(directory, 'key.pem'), identity.key);
  authority.close();
  const admin = await freePort();
  const ports = { plain: await freePort(), mesh: await freePort() };
  const mutualTls = await freePort();
  const file = join(directory, 'bootstrap.json');
  writeFileSync(
    file,
    JSON.stringify({
      admin: { address: at(admin) },
      static_resources: {
        listeners: [
          listener('plain', ports.plain, 'app'),
          listener('out', ports.mesh, 'peer'),
          listener('in', mutualTls, 'app', {
            transport_socket: tls(directory, 'DownstreamTlsContext', { require_client_certificate: true }),
          }),
        ],
        clusters: [
          cluster('app', appPort),
          cluster('peer', mutualTls, {
            transport_socket: tls(directory, 'UpstreamTlsContext', { sni: 'outbound_.7070_._.app' }),
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
    async stat(name) {
      const { body } = await send(admin, `/stats?filter=${encodeURIComponent(`^${name}$`)}`);
      return Number(/: (\d+)/.exec(body)?.[1] ?? 0);
    },
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
