import assert from 'node:assert/strict';
import { X509Certificate, randomBytes } from 'node:crypto';
import { type AddressInfo, type Server, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { type TestContext, after, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { SecretSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import { AcceptedConnectionInfo } from '../../network/connection_info.ts';
import type { TlsInfo } from '../../network/connection.ts';
import {
  type DownstreamTransportSocketFactory,
  type UpstreamTransportSocketFactory,
  newTlsStats,
  noTransportOptions,
} from '../../network/transport_socket.ts';
import { ClientSessions } from './client_sessions.ts';
import {
  TestAuthority,
  TestSecrets,
  certificateOf,
  downstream,
  secretOf,
  trust,
  upstream,
} from './testing.ts';

const mesh = new TestAuthority('mesh');
const a = mesh.issue('URI:spiffe://td/ns/a/sa/a');
const b = mesh.issue('URI:spiffe://td/ns/b/sa/b');
after(() => mesh.close());

const inlineBytes = (value: Buffer) => ({ specifier: { case: 'inlineBytes', value } });
const ticketKeys = (...keys: Buffer[]) => ({ keys: keys.map(inlineBytes) });
const serverConfig = (more: object = {}, common: object = {}): object => ({
  requireClientCertificate: true,
  commonTlsContext: { tlsCertificates: [certificateOf(b)], ...trust(mesh.cert), ...common },
  ...more,
});
const clientConfig = (common: object = {}, more: object = {}): object => ({
  commonTlsContext: { tlsCertificates: [certificateOf(a)], ...trust(mesh.cert), ...common },
  ...more,
});

/** One port whose transport socket can be exchanged: sessions of clients are kept by address. */
async function serve(
  t: TestContext,
  first: DownstreamTransportSocketFactory,
): Promise<{ port: number; use(next: DownstreamTransportSocketFactory): void; last(): string | undefined }> {
  let transport = first;
  let failure: string | undefined;
  const server: Server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    const info = new AcceptedConnectionInfo({ ip: '127.0.0.1', port: 1 }, { ip: '127.0.0.1', port: 2 });
    transport.wrap(socket, info, {
      onTransportReady: (ready) => {
        ready.on('error', () => {});
        ready.end('hi');
        ready.resume();
      },
      onTransportFailure: (reason) => (failure = reason),
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return {
    port: (server.address() as AddressInfo).port,
    use: (next) => (transport = next),
    last: () => failure,
  };
}

/** One connection to the end; what the client learned. Rejects when it fails. */
async function visit(port: number, client: UpstreamTransportSocketFactory): Promise<TlsInfo | undefined> {
  const raw = connect(port, '127.0.0.1');
  raw.on('error', () => {});
  await once(raw, 'connect');
  return new Promise((resolve, reject) =>
    client.wrap(raw, noTransportOptions, {
      onTransportReady: (socket, tls) => {
        socket.on('error', () => {});
        socket.on('data', () => {});
        socket.on('end', () => socket.end());
        socket.on('close', () => resolve(tls));
      },
      onTransportFailure: (reason) => reject(new Error(reason)),
    }),
  );
}

test('a client that comes back resumes, and both sides still know whom they talk to', async (t) => {
  for (const version of [3, 4]) {
    const params = { tlsParams: { tlsMaximumProtocolVersion: version } };
    const server = await serve(t, downstream(serverConfig({}, params)));
    const client = upstream(clientConfig());
    assert.equal((await visit(server.port, client))?.sessionReused, false);
    const again = await visit(server.port, client);
    assert.equal(again?.sessionReused, true, `TLS 1.${version - 1}`);
    assert.deepEqual(again?.peerUriSans, ['spiffe://td/ns/b/sa/b']);
    assert.equal(again?.peerCertificateValidated, true);
    // A listener of another worker has the same keys.
    server.use(downstream(serverConfig({}, params)));
    assert.equal((await visit(server.port, client))?.sessionReused, true, 'another worker');
  }
});

test('sessions end with the certificate, the trust and the demands they were made under', async (t) => {
  const server = await serve(t, downstream(serverConfig()));
  const client = upstream(clientConfig());
  await visit(server.port, client);
  for (const [what, config] of [
    ['another certificate', serverConfig({}, { tlsCertificates: [certificateOf(a)] })],
    [
      'other names',
      serverConfig(
        {},
        trust(mesh.cert, {
          matchSubjectAltNames: [{ matchPattern: { case: 'prefix', value: 'spiffe://td' } }],
        }),
      ),
    ],
    [
      'resumption switched off',
      serverConfig({ sessionTicketKeysType: { case: 'disableStatelessSessionResumption', value: true } }),
    ],
    ['expired certificates allowed', serverConfig({}, trust(mesh.cert, { allowExpiredCertificate: true }))],
  ] as const) {
    server.use(downstream(config));
    assert.equal((await visit(server.port, client))?.sessionReused, false, what);
    await visit(server.port, client);
    server.use(downstream(serverConfig()));
    await visit(server.port, client);
  }
});

test('a client whose names are refused is refused again when it resumes', async (t) => {
  const narrow = trust(mesh.cert, {
    matchSubjectAltNames: [{ matchPattern: { case: 'exact', value: 'spiffe://td/ns/x/sa/x' } }],
  });
  const server = await serve(t, downstream(serverConfig({}, narrow)));
  const client = upstream(clientConfig());
  for (let i = 0; i < 3; i++) {
    await visit(server.port, client).catch(() => undefined);
    assert.match(server.last() ?? '', /SAN matcher/);
  }
});

test('max_session_keys 0 keeps none; a new identity of the client starts anew', async (t) => {
  const server = await serve(t, downstream(serverConfig()));
  const none = upstream(clientConfig({}, { maxSessionKeys: 0 }));
  await visit(server.port, none);
  assert.equal((await visit(server.port, none))?.sessionReused, false);

  const secrets = new TestSecrets();
  const config = { tlsCertificates: [], tlsCertificateSdsSecretConfigs: [{ name: 'own' }] };
  const rotating = upstream(clientConfig(config), secrets);
  secrets.deliver(secretOf('own', a));
  await visit(server.port, rotating);
  assert.equal((await visit(server.port, rotating))?.sessionReused, true);
  secrets.deliver(secretOf('own', mesh.issue('URI:spiffe://td/ns/a/sa/a')));
  assert.equal((await visit(server.port, rotating))?.sessionReused, false);
});

test('configured ticket keys: the first encrypts, all decrypt, by SDS too', async (t) => {
  const [old, young] = [randomBytes(80), randomBytes(80)];
  const secrets = new TestSecrets();
  const keysSecret = (...keys: Buffer[]) =>
    create(SecretSchema, {
      name: 'keys',
      type: { case: 'sessionTicketKeys', value: ticketKeys(...keys) },
    } as never);
  const config = serverConfig({
    sessionTicketKeysType: { case: 'sessionTicketKeysSdsSecretConfig', value: { name: 'keys' } },
  });
  const transport = downstream(config, secrets);
  assert.equal(transport.ready, false);
  secrets.deliver(keysSecret(old));
  assert.equal(transport.ready, true);
  const server = await serve(t, transport);
  const client = upstream(clientConfig());
  await visit(server.port, client);
  secrets.deliver(keysSecret(young, old));
  assert.equal((await visit(server.port, client))?.sessionReused, true, 'the old key still reads');
  const inline = (...keys: Buffer[]) =>
    downstream(
      serverConfig({ sessionTicketKeysType: { case: 'sessionTicketKeys', value: ticketKeys(...keys) } }),
    );
  const fresh = upstream(clientConfig());
  await visit(server.port, fresh);
  server.use(inline(young));
  assert.equal((await visit(server.port, fresh))?.sessionReused, true, 'tickets were made with the new key');
  server.use(inline(old));
  const stale = upstream(clientConfig());
  await visit(server.port, stale);
  server.use(inline(young));
  assert.equal((await visit(server.port, stale))?.sessionReused, false, 'the old key is gone');
  assert.throws(() => inline(randomBytes(48)), /80 bytes/);
});

test('counters of one listener', async (t) => {
  const stats = newTlsStats();
  const { downstreamTls } = await import('./downstream.ts');
  const { toBinary } = await import('@bufbuild/protobuf');
  const { DownstreamTlsContextSchema: schema } =
    await import('#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts');
  const value = toBinary(schema, create(schema, serverConfig() as never));
  const server = await serve(
    t,
    downstreamTls.create({ value }, { secrets: new TestSecrets(), tlsStats: stats }),
  );
  const client = upstream(clientConfig());
  await visit(server.port, client);
  await visit(server.port, client);
  await visit(server.port, upstream({ commonTlsContext: trust(mesh.cert) })).catch(() => undefined);
  assert.deepEqual(
    { ...stats },
    { ...newTlsStats(), handshake: 3, sessionReused: 1, failVerifyNoCert: 1, connectionError: 1 },
  );
});

test('client sessions: newest first, shown once, bounded', () => {
  const peer = new X509Certificate(a.cert);
  const session = (text: string) => ({ ticket: Buffer.from(text), peer });
  const sessions = new ClientSessions(2);
  for (const text of ['1', '2', '3']) sessions.put('x', session(text));
  const taken = [1, 2, 3].map(() => sessions.take('x')?.ticket.toString());
  assert.deepEqual(taken, ['3', '2', undefined]);
  for (let i = 0; i < 2000; i++) sessions.put(`host ${i}`, session('s'));
  assert.equal(sessions.take('host 0'), undefined);
  assert.equal(sessions.take('host 1999')?.ticket.toString(), 's');
  sessions.put('y', { ticket: Buffer.alloc(100_000), peer });
  assert.equal(sessions.take('y'), undefined);
});
