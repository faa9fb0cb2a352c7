/** The client against our server: TLS, rotation, Unix sockets, unary calls, and everything that goes wrong. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import {
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
  createServer as createHttp2Server,
} from 'node:http2';
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import {
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
  IstioCertificateService,
} from '#api/gen/istio/security/v1alpha1/ca_pb.ts';
import { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import { makeKeyPair, privateKeyPem } from '#security/pki/keys.ts';
import { GrpcClient, type GrpcTls } from './grpc_client.ts';
import { encodeFrame } from './grpc_frame.ts';
import { GrpcError, grpcStatus } from './grpc_status.ts';
import { peerOf } from './server/discovery_services.ts';
import { GrpcServer, type GrpcServerOptions } from './server/grpc_server.ts';
import type { Peer } from './transport.ts';

const path = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

/** Answers with the CSR's text; a CSR `fail` is refused. Records who called. */
function echoRoutes(peers: Peer[]): (router: ConnectRouter) => void {
  return (router) =>
    router.service(IstioCertificateService, {
      createCertificate: (request, context) => {
        peers.push(peerOf(context));
        if (request.csr === 'fail') throw new ConnectError('näh', Code.PermissionDenied);
        return { certChain: [request.csr] };
      },
    });
}

async function listen(
  t: TestContext,
  peers: Peer[],
  options: Omit<GrpcServerOptions, 'routes'> = {},
): Promise<{ server: GrpcServer; port: number }> {
  const server = new GrpcServer({ routes: echoRoutes(peers), ...options });
  t.after(() => server.close());
  return { server, port: await server.listen({ host: '127.0.0.1', port: 0 }) };
}

function connect(t: TestContext, options: ConstructorParameters<typeof GrpcClient>[0]): GrpcClient {
  const client = new GrpcClient(options);
  t.after(() => client.close());
  return client;
}

async function echo(client: GrpcClient, csr: string, timeoutMs?: number): Promise<string | undefined> {
  const request = toBinary(IstioCertificateRequestSchema, create(IstioCertificateRequestSchema, { csr }));
  const response = await client.unary(path, request, {}, timeoutMs);
  return fromBinary(IstioCertificateResponseSchema, response).certChain[0];
}

function failsWith(code: number, message: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof GrpcError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

test('a unary call over plaintext, with metadata read for each call', async (t) => {
  const peers: Peer[] = [];
  const { port } = await listen(t, peers);
  let token = 0;
  const client = connect(t, {
    address: { host: '127.0.0.1', port },
    metadata: async () => ({ authorization: `Bearer ${++token}` }),
  });
  assert.equal(await echo(client, 'a'), 'a');
  assert.equal(await echo(client, 'b'.repeat(300_000)), 'b'.repeat(300_000));
  assert.deepEqual(
    peers.map(({ kind, address, metadata }) => [kind, address, metadata['authorization']]),
    [
      ['plaintext', '127.0.0.1', 'Bearer 1'],
      ['plaintext', '127.0.0.1', 'Bearer 2'],
    ],
  );
});

test('a status comes with its message', async (t) => {
  const { port } = await listen(t, []);
  const client = connect(t, { address: { host: '127.0.0.1', port } });
  await assert.rejects(echo(client, 'fail'), failsWith(grpcStatus.permissionDenied, /^näh$/));
  await assert.rejects(
    client.unary('/no.Such/Method', new Uint8Array()),
    failsWith(grpcStatus.unimplemented, /./),
  );
});

test('a Unix socket replaces a stale one', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'grpc-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const address = { path: join(folder, 'XDS') };
  const stale = createTcpServer().listen(address.path);
  await new Promise((resolve) => stale.once('listening', resolve));
  stale.close();
  const peers: Peer[] = [];
  const server = new GrpcServer({ routes: echoRoutes(peers) });
  t.after(() => server.close());
  await server.listen(address);
  assert.equal(await echo(connect(t, { address }), 'a'), 'a');
  assert.equal(peers[0]!.kind, 'unix');
});

async function identity(
  authority: CertificateAuthority,
  uri: string,
): Promise<{ cert: string; key: string }> {
  const keys = await makeKeyPair();
  const chain = authority.sign(keys.publicKey, { uris: [uri] });
  return { cert: chain[0]!, key: privateKeyPem(keys.privateKey) };
}

test('TLS: server name, optional client certificate, rotation on both sides', async (t) => {
  const authority = await CertificateAuthority.open({ trustDomain: 'cluster.local' });
  const name = 'istiod.istio-system.svc';
  const serving = async () => {
    const { certChain, privateKey } = await authority.issueServing({ uris: [], dnsNames: [name] });
    return { cert: certChain, key: privateKey, clientCa: authority.rootPem };
  };
  const peers: Peer[] = [];
  const { server, port } = await listen(t, peers, { tls: await serving() });
  const address = { host: '127.0.0.1', port };
  const tls: GrpcTls = { ca: authority.rootPem, serverName: name };

  assert.equal(await echo(connect(t, { address, tls: () => tls }), 'a'), 'a');
  assert.deepEqual([peers[0]!.kind, peers[0]!.certificates], ['tls', undefined]);

  let uri = 'spiffe://cluster.local/ns/default/sa/one';
  let own = await identity(authority, uri);
  const client = connect(t, { address, tls: () => ({ ...tls, ...own }) });
  assert.equal(await echo(client, 'b'), 'b');
  assert.match(peers[1]!.certificates![0]!.subjectAltName!, /sa\/one/);
  uri = 'spiffe://cluster.local/ns/default/sa/two';
  own = await identity(authority, uri);
  client.rotate();
  server.rotate(await serving());
  assert.equal(await echo(client, 'c'), 'c');
  assert.match(peers[2]!.certificates![0]!.subjectAltName!, /sa\/two/);

  const wrongName = connect(t, { address, tls: () => ({ ...tls, serverName: 'other.svc' }) });
  await assert.rejects(echo(wrongName, 'd'), failsWith(grpcStatus.unavailable, /altnames/));
  const stranger = await CertificateAuthority.open({ trustDomain: 'cluster.local' });
  const wrongRoot = connect(t, { address, tls: () => ({ ...tls, ca: stranger.rootPem }) });
  await assert.rejects(echo(wrongRoot, 'e'), failsWith(grpcStatus.unavailable, /certificate/));
  const foreign = await identity(stranger, uri);
  const badClient = connect(t, { address, tls: () => ({ ...tls, ...foreign }) });
  await assert.rejects(echo(badClient, 'f'), failsWith(grpcStatus.unavailable, /./));
  assert.equal(peers.length, 3);
});

test('failures to connect are unavailable, and the next call tries again', async (t) => {
  const probe = createTcpServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  const client = connect(t, { address: { host: '127.0.0.1', port } });
  await assert.rejects(echo(client, 'a'), failsWith(grpcStatus.unavailable, /ECONNREFUSED/));
  const server = new GrpcServer({ routes: echoRoutes([]) });
  t.after(() => server.close());
  await server.listen({ host: '127.0.0.1', port });
  assert.equal(await echo(client, 'a'), 'a');
});

test('a server that accepts and says nothing runs into the connect timeout', async (t) => {
  const silent = createTcpServer((socket) => void t.after(() => socket.destroy())).listen(0, '127.0.0.1');
  t.after(() => silent.close());
  await new Promise((resolve) => silent.once('listening', resolve));
  const { port } = silent.address() as AddressInfo;
  const client = connect(t, { address: { host: '127.0.0.1', port }, connectTimeoutMs: 50 });
  await assert.rejects(echo(client, 'a'), failsWith(grpcStatus.unavailable, /not connected after 50 ms/));
});

/** An HTTP/2 server whose streams are answered by hand. */
async function rawServer(
  t: TestContext,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
): Promise<number> {
  const server = createHttp2Server();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  server.on('session', (session) => void t.after(() => session.destroy()));
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  return (server.address() as AddressInfo).port;
}

const okHeaders = { ':status': 200, 'content-type': 'application/grpc' };

const answers: readonly [
  name: string,
  answer: (stream: ServerHttp2Stream) => void,
  code: number,
  message: RegExp,
][] = [
  [
    'HTTP error',
    (stream) => stream.respond({ ':status': 503 }, { endStream: true }),
    grpcStatus.unavailable,
    /HTTP status 503/,
  ],
  [
    'wrong content type',
    (stream) => stream.respond({ ':status': 200, 'content-type': 'text/html' }, { endStream: true }),
    grpcStatus.unknown,
    /text\/html/,
  ],
  ['reset', (stream) => stream.close(7), grpcStatus.unavailable, /HTTP\/2 error 7/],
  [
    'no status',
    (stream) => {
      stream.respond(okHeaders);
      stream.end();
    },
    grpcStatus.unavailable,
    /without a status/,
  ],
  [
    'compressed message',
    (stream) => {
      stream.respond(okHeaders);
      stream.write(Buffer.from([1, 0, 0, 0, 0]));
    },
    grpcStatus.internal,
    /compressed/,
  ],
  [
    'huge message',
    (stream) => {
      stream.respond(okHeaders);
      stream.write(Buffer.from([0, 255, 0, 0, 0]));
    },
    grpcStatus.resourceExhausted,
    /more than 1024/,
  ],
  ['session lost', (stream) => stream.session!.destroy(), grpcStatus.unavailable, /./],
];

for (const [name, answer, code, message] of answers) {
  test(`${name} ends a call with status ${code}`, async (t) => {
    const port = await rawServer(t, answer);
    const client = connect(t, { address: { host: '127.0.0.1', port }, maxMessageBytes: 1024 });
    await assert.rejects(echo(client, 'a', 2000), failsWith(code, message));
  });
}

test('a deadline ends a call and tells the server', async (t) => {
  let timeout: unknown;
  const port = await rawServer(t, (_stream, headers) => {
    timeout = headers['grpc-timeout'];
  });
  const client = connect(t, { address: { host: '127.0.0.1', port } });
  await assert.rejects(echo(client, 'a', 400), failsWith(grpcStatus.deadlineExceeded, /400 ms/));
  assert.equal(timeout, '400m');
});

test('messages in one chunk and in many arrive whole', async (t) => {
  const port = await rawServer(t, (stream) => {
    stream.respond(okHeaders, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    const bytes = Buffer.concat([
      encodeFrame(Buffer.from('one')),
      encodeFrame(Buffer.from('')),
      encodeFrame(Buffer.from('three')),
    ]);
    stream.write(bytes.subarray(0, 3));
    setTimeout(() => stream.write(bytes.subarray(3, 20)), 5);
    setTimeout(() => stream.end(bytes.subarray(20)), 10);
  });
  const client = connect(t, { address: { host: '127.0.0.1', port } });
  const messages: string[] = [];
  const error = await new Promise((resolve) => {
    client.bidi('/a/b', {
      onMessage: (message) => messages.push(Buffer.from(message).toString()),
      onClose: resolve,
    });
  });
  assert.equal(error, undefined);
  assert.deepEqual(messages, ['one', '', 'three']);
});

test('a peer that answers no PING is lost', async (t) => {
  // A relay that swallows what the server sends once the call is open.
  const peers: Peer[] = [];
  const { port: target } = await listen(t, peers);
  let mute = false;
  const relay = createTcpServer((socket) => {
    const upstream = connectTcp(target, '127.0.0.1');
    socket.pipe(upstream);
    upstream.on('data', (chunk) => void (mute || socket.write(chunk)));
    socket.on('error', () => upstream.destroy());
    upstream.on('error', () => socket.destroy());
    t.after(() => (socket.destroy(), upstream.destroy()));
  }).listen(0, '127.0.0.1');
  t.after(() => relay.close());
  await new Promise((resolve) => relay.once('listening', resolve));
  const { port } = relay.address() as AddressInfo;
  const client = connect(t, {
    address: { host: '127.0.0.1', port },
    keepaliveIntervalMs: 20,
    keepaliveTimeoutMs: 50,
  });
  assert.equal(await echo(client, 'a'), 'a');
  mute = true;
  await assert.rejects(echo(client, 'b', 2000), failsWith(grpcStatus.unavailable, /PING/));
  mute = false;
  assert.equal(await echo(client, 'c'), 'c');
});
