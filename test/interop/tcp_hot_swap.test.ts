/** Certificates and trust that change while connections flow: none is closed, new ones use the new version. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { after, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { TcpProxySchema } from '#api/gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.ts';
import {
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { tcpProxy } from '../../src/proxy/filters/network/tcp_proxy/config.ts';
import { ListenerManager } from '../../src/proxy/listener_manager/listener_manager.ts';
import { testContext } from '../../src/proxy/listener_manager/testing.ts';
import { roundRobin } from '../../src/proxy/load_balancing_policies/round_robin/round_robin.ts';
import { ExtensionRegistry } from '../../src/proxy/registry.ts';
import { downstreamTls } from '../../src/proxy/transport_sockets/tls/downstream.ts';
import {
  TestAuthority,
  TestSecrets,
  secretOf,
  trustSecret,
} from '../../src/proxy/transport_sockets/tls/testing.ts';
import { upstreamTls } from '../../src/proxy/transport_sockets/tls/upstream.ts';
import { LiveClusterManager } from '../../src/proxy/upstream/cluster_manager.ts';
import { staticCluster } from '../../src/proxy/upstream/testing.ts';

const [old, young] = [new TestAuthority('old'), new TestAuthority('young')];
after(() => {
  old.close();
  young.close();
});

const common = {
  commonTlsContext: {
    tlsCertificateSdsSecretConfigs: [{ name: 'own' }],
    validationContextType: { case: 'validationContextSdsSecretConfig', value: { name: 'trust' } },
  },
};
const downstreamAny = anyPack(
  DownstreamTlsContextSchema,
  create(DownstreamTlsContextSchema, { ...common, requireClientCertificate: true } as never),
);
const upstreamAny = anyPack(UpstreamTlsContextSchema, create(UpstreamTlsContextSchema, common as never));
const socketOf = (value: object) => ({
  transportSocket: { name: 'tls', configType: { case: 'typedConfig', value } },
});

test('200 rotations under load close no connection', { timeout: 60_000 }, async (t) => {
  const application = createServer((socket) => void socket.on('error', () => {}).pipe(socket));
  application.listen(0, '127.0.0.1');
  await once(application, 'listening');
  const lists = {
    network_filter: [tcpProxy],
    load_balancing_policy: [roundRobin],
    'transport_socket.downstream': [downstreamTls],
    'transport_socket.upstream': [upstreamTls],
  };
  const secrets = new TestSecrets();
  const clusters = new LiveClusterManager({ registry: new ExtensionRegistry(lists), sockets: { secrets } });
  const listeners = new ListenerManager({ sockets: { secrets } });
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    listeners.close();
    clusters.close();
    application.close();
  });
  const roots = old.cert + young.cert;
  let identity = old.issue('URI:spiffe://td/ns/a/sa/0');
  secrets.deliver(secretOf('own', identity));
  secrets.deliver(trustSecret('trust', roots));

  const listen = async (name: string, cluster: string, more: object = {}): Promise<number> => {
    const any = anyPack(
      TcpProxySchema,
      create(TcpProxySchema, { statPrefix: name, clusterSpecifier: { case: 'cluster', value: cluster } }),
    );
    const staged = listeners.stage(
      create(ListenerSchema, {
        name,
        address: {
          address: {
            case: 'socketAddress',
            value: { address: '127.0.0.1', portSpecifier: { case: 'portValue', value: 0 } },
          },
        },
        filterChains: [
          { filters: [{ name: 'tcp', configType: { case: 'typedConfig', value: any } }], ...more },
        ],
      } as never),
      testContext(lists, { clusterManager: clusters }),
    );
    await new Promise<void>((resolve, reject) =>
      staged.activate((error) => (error ? reject(error) : resolve())),
    );
    return listeners.get(name)!.boundAddresses[0]!.port;
  };
  const { port } = application.address() as AddressInfo;
  clusters.stage(staticCluster([`127.0.0.1:${port}`], { name: 'app' })).activate();
  const inner = await listen('in', 'app', socketOf(downstreamAny));
  clusters
    .stage(staticCluster([`127.0.0.1:${inner}`], { name: 'peer', ...socketOf(upstreamAny) } as never))
    .activate();
  const outer = await listen('out', 'peer');

  // Thirty connections that say something all the time and count what comes back.
  let failed = 0;
  let stop = false;
  const talk = async (): Promise<number> => {
    const socket = connect(outer, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => failed++);
    socket.on('close', () => void (stop || failed++));
    let heard = 0;
    socket.on('data', (data: Buffer) => (heard += data.length));
    let said = 0;
    while (!stop) {
      socket.write('0123456789');
      said += 10;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    for (let i = 0; i < 500 && heard < said; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    return said - heard;
  };
  const talks = Array.from({ length: 30 }, talk);

  // Comes, asks, goes: handshakes with every version.
  let visits = 0;
  const visit = async (): Promise<void> => {
    while (!stop) {
      const socket = connect(outer, '127.0.0.1');
      socket.on('error', () => failed++);
      socket.end('x');
      let text = '';
      for await (const data of socket) text += String(data);
      if (text !== 'x') failed++;
      visits++;
    }
  };
  const visitors = Array.from({ length: 4 }, visit);

  const versions = [old, young].flatMap((authority, i) =>
    Array.from({ length: 5 }, (_, n) => authority.issue(`URI:spiffe://td/ns/a/sa/${i}-${n}`)),
  );
  for (let i = 0; i < 200; i++) {
    identity = versions[i % versions.length]!;
    secrets.deliver(secretOf('own', identity));
    if (i % 20 === 0) secrets.deliver(trustSecret('trust', i % 40 === 0 ? young.cert + old.cert : roots));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(failed, 0);
  // New connections see the newest version at once.
  const probe = connectTls({
    port: inner,
    host: '127.0.0.1',
    ...identity,
    ca: roots,
    checkServerIdentity: () => undefined,
  });
  sockets.push(probe);
  await once(probe, 'secureConnect');
  assert.equal(probe.getPeerX509Certificate()?.subjectAltName, `URI:spiffe://td/ns/a/sa/1-4`);
  stop = true;
  const lost = await Promise.all(talks);
  await Promise.all(visitors);
  assert.deepEqual([...new Set(lost)], [0]);
  assert.ok(visits > 20, `${visits} visits`);
  assert.equal(failed, 0);
});
