/** A thousand configuration updates under load: listeners, routes, clusters, endpoints, secrets. No connection is closed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Server, connect as connectTcp, createServer } from 'node:net';
import { type TLSSocket, connect as connectTls } from 'node:tls';
import { after, test } from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import {
  KeepAliveClient,
  TestControlPlane,
  assignment,
  edsCluster,
  freePort,
  httpListener,
  routesTo,
  startApplication,
  startOn,
} from '../../src/proxy/server/testing.ts';
import { TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { typeUrls } from '../../src/xds/type_url.ts';
import { until } from './data_plane.ts';

const updates = 1_000;

const one = await startApplication('one');
const two = await startApplication('two');
const echo: Server = createServer((socket) => void socket.on('error', () => {}).pipe(socket)).listen(
  0,
  '127.0.0.1',
);
await once(echo, 'listening');
after(() => {
  for (const { server } of [one, two]) {
    server.close();
    server.closeAllConnections();
  }
  echo.close();
});

/** Says one thing after the other on one connection and hears each come back. */
class Echoing {
  readonly #socket: TLSSocket | ReturnType<typeof connectTcp>;
  readonly #word: string;
  readonly #expected: RegExp;
  #heard = '';
  closed = false;
  rounds = 0;
  #stopped = false;

  constructor(socket: TLSSocket | ReturnType<typeof connectTcp>, word: string, expected: RegExp) {
    this.#socket = socket.setEncoding('latin1');
    this.#word = word;
    this.#expected = expected;
    socket.on('error', () => {});
    socket.on('close', () => (this.closed = !this.#stopped));
    socket.on('data', (text: string) => this.#hear(text));
    socket.write(word);
  }

  #hear(text: string): void {
    this.#heard += text;
    if (!this.#expected.test(this.#heard)) return;
    this.#heard = '';
    this.rounds++;
    if (!this.#stopped) this.#socket.write(this.#word);
  }

  stop(): void {
    this.#stopped = true;
    this.#socket.destroy();
  }
}

function tcpListener(port: number, idleTimeout: string): JsonValue {
  return {
    name: 'tcp',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.tcp_proxy',
            typed_config: {
              '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
              stat_prefix: 'tcp',
              cluster: 'echo',
              idle_timeout: idleTimeout,
            },
          },
        ],
      },
    ],
  };
}

function secureListener(port: number, serverName: string): JsonValue {
  const listener = httpListener('secure', port, 'routes', { hcm: { server_name: serverName } }) as {
    filter_chains: Record<string, JsonValue>[];
  };
  listener.filter_chains[0]!['transport_socket'] = {
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

test(`${updates} updates under load`, { timeout: 300_000 }, async (t) => {
  const authority = new TestAuthority('churn');
  const certificates = [authority.issue('DNS:a'), authority.issue('DNS:b')];
  authority.close();
  const secret = (i: number): JsonValue => ({
    name: 'own',
    tls_certificate: {
      certificate_chain: { inline_string: certificates[i % 2]!.cert },
      private_key: { inline_string: certificates[i % 2]!.key },
    },
  });
  const plane = new TestControlPlane();
  const [plain, secure, tcp] = [await freePort(), await freePort(), await freePort()];
  const apply = (i: number): void => {
    // Each update changes something else; all come round.
    switch (i % 6) {
      case 0:
        plane.set(typeUrls.rds, 'routes', routesTo('routes', i % 12 === 0 ? 'a' : 'b'));
        return;
      case 1:
        plane.set(typeUrls.lds, 'in', httpListener('in', plain, 'routes', { hcm: { server_name: `s${i}` } }));
        return;
      case 2:
        plane.set(typeUrls.cds, 'a', edsCluster('a', { connect_timeout: `${1 + (i % 7)}s` }));
        return;
      case 3:
        plane.set(typeUrls.sds, 'own', secret(Math.floor(i / 6)));
        return;
      case 4:
        plane.set(typeUrls.lds, 'secure', secureListener(secure, `s${i}`));
        return;
      default:
        plane.set(typeUrls.lds, 'tcp', tcpListener(tcp, `${600 + i}s`));
        plane.set(typeUrls.eds, 'b', assignment('b', two.port, ...(i % 4 === 1 ? [two.port] : [])));
    }
  };
  plane
    .set(typeUrls.cds, 'a', edsCluster('a'))
    .set(typeUrls.cds, 'b', edsCluster('b'))
    .set(typeUrls.cds, 'echo', edsCluster('echo'))
    .set(typeUrls.eds, 'a', assignment('a', one.port))
    .set(typeUrls.eds, 'b', assignment('b', two.port))
    .set(typeUrls.eds, 'echo', assignment('echo', (echo.address() as { port: number }).port))
    .set(typeUrls.rds, 'routes', routesTo('routes', 'a'))
    .set(typeUrls.lds, 'in', httpListener('in', plain, 'routes'))
    .set(typeUrls.lds, 'secure', secureListener(secure, 's'))
    .set(typeUrls.lds, 'tcp', tcpListener(tcp, '600s'))
    .set(typeUrls.sds, 'own', secret(0));
  await plane.push();
  const { proxy, log } = await startOn(plane, 'delta', { concurrency: 2, inline: false, logLevel: 'info' });
  const clients: KeepAliveClient[] = [];
  const streams: Echoing[] = [];
  try {
    await until(
      () => proxy.ready(),
      () => `ready: ${proxy.readyReason()}`,
    );
    for (let i = 0; i < 6; i++) {
      clients.push(new KeepAliveClient(plain));
      streams.push(new Echoing(connectTcp(tcp, '127.0.0.1'), 'ping', /^ping$/));
      const socket = connectTls({ host: '127.0.0.1', port: secure, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      streams.push(
        new Echoing(socket, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n', /^HTTP\/1\.1 200 [^]*(?:one|two)$/),
      );
    }
    const names = new Set<string>();
    for (let i = 1; i <= updates; i++) {
      apply(i);
      await plane.push();
      // New connections see the newest secret and are served, too.
      if (i % 50 !== 0) continue;
      await new Promise((resolve) => setTimeout(resolve, 5));
      const socket = connectTls({ host: '127.0.0.1', port: secure, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      names.add(String(socket.getPeerCertificate().subjectaltname));
      socket.destroy();
    }
    const before = clients.map(({ answers }) => answers.size);
    assert.ok(before.every((size) => size > 0));
    const rounds = streams.map((stream) => stream.rounds);
    await until(() => streams.every((stream, i) => stream.rounds > rounds[i]! + 5), 'streams go on');
    assert.deepEqual(plane.nacks, []);
    assert.deepEqual([...new Set(clients.flatMap(({ answers }) => [...answers.keys()]))].sort(), [
      '200 one',
      '200 two',
    ]);
    assert.ok(
      clients.every(({ closed }) => !closed),
      'plain connections',
    );
    assert.ok(
      streams.every(({ closed }) => !closed),
      'TLS and TCP connections',
    );
    assert.deepEqual([...names].sort(), ['DNS:a', 'DNS:b']);
    assert.deepEqual(
      log.lines.filter((line) => /\t(?:warn|error)\t/.test(line)),
      [],
    );
    const requests = clients.reduce(
      (sum, { answers }) => sum + [...answers.values()].reduce((a, b) => a + b),
      0,
    );
    t.diagnostic(
      `${requests} requests and ${streams.reduce((sum, { rounds: n }) => sum + n, 0)} rounds, none lost`,
    );
  } finally {
    for (const stream of streams) stream.stop();
    const stopped = clients.map((client) => client.stop());
    await proxy.close();
    await Promise.all(stopped);
  }
});
