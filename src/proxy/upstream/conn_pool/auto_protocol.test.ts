/** auto_config: ALPN chooses the version of each connection. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createSecureServer } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, type TestContext, test } from 'node:test';
import { create, fromJson } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { HttpProtocolOptionsSchema } from '#api/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts';
import { UpstreamTlsContextSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { roundRobin } from '../../load_balancing_policies/round_robin/round_robin.ts';
import { noSecrets } from '../../network/secret.ts';
import { ExtensionRegistry } from '../../registry.ts';
import { TestAuthority } from '../../transport_sockets/tls/testing.ts';
import { upstreamTls } from '../../transport_sockets/tls/upstream.ts';
import { LiveClusterManager } from '../cluster_manager.ts';
import { type ClusterInit, loadContext, request, staticCluster, until } from '../testing.ts';

const authority = new TestAuthority('auto');
after(() => authority.close());
const identity = authority.issue('DNS:auto.example');
const registry = new ExtensionRegistry({
  load_balancing_policy: [roundRobin],
  'transport_socket.upstream': [upstreamTls],
});

async function server(t: TestContext, http2: boolean): Promise<{ at: string; connections: number }> {
  const state = { at: '', connections: 0 };
  const { cert, key } = identity;
  const made = http2
    ? createSecureServer({ cert, key }, (incoming, response) => response.end(incoming.httpVersion))
    : createHttpsServer({ cert, key }, (incoming, response) => response.end(incoming.httpVersion));
  const sockets = new Set<{ destroy(): void }>();
  made.on('secureConnection', (socket: { destroy(): void }) => {
    state.connections++;
    sockets.add(socket);
  });
  made.listen(0, '127.0.0.1');
  await once(made, 'listening');
  t.after(() => {
    made.close();
    for (const socket of sockets) socket.destroy();
  });
  state.at = `127.0.0.1:${(made.address() as AddressInfo).port}`;
  return state;
}

async function poolTo(t: TestContext, at: string) {
  const manager = new LiveClusterManager({ registry, sockets: { secrets: noSecrets } });
  t.after(() => manager.close());
  const tls = fromJson(UpstreamTlsContextSchema, {
    sni: 'auto.example',
    commonTlsContext: { validationContext: { trustedCa: { inlineString: authority.cert } } },
  });
  const http = create(HttpProtocolOptionsSchema, {
    upstreamProtocolOptions: { case: 'autoConfig', value: {} },
  });
  const config = {
    transportSocket: {
      name: 'envoy.transport_sockets.tls',
      configType: { case: 'typedConfig', value: anyPack(UpstreamTlsContextSchema, tls) },
    },
    typedExtensionProtocolOptions: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': anyPack(HttpProtocolOptionsSchema, http),
    },
  } as unknown as ClusterInit;
  manager.stage(staticCluster([at], config)).activate();
  const cluster = manager.get('c');
  assert.ok(cluster !== undefined);
  await until(() => cluster.ready, 'the cluster');
  const host = cluster.chooseHost(loadContext());
  assert.ok(host !== undefined);
  return cluster.httpPool(host, 'default', 'HTTP/1.1', loadContext());
}

test('a peer that speaks HTTP/2 gets it, on one connection', async (t) => {
  const peer = await server(t, true);
  const pool = await poolTo(t, peer.at);
  const answers = await Promise.all([request(pool), request(pool), request(pool)]);
  assert.deepEqual(
    answers.map(({ body }) => body),
    ['2.0', '2.0', '2.0'],
  );
  assert.equal(peer.connections, 1);
});

test('a peer that does not gets HTTP/1.1, and then more connections', async (t) => {
  const peer = await server(t, false);
  const pool = await poolTo(t, peer.at);
  const answers = await Promise.all([request(pool), request(pool), request(pool)]);
  assert.deepEqual(
    answers.map(({ body }) => body),
    ['1.1', '1.1', '1.1'],
  );
  assert.ok(peer.connections > 1, 'one more for requests at once');
});
