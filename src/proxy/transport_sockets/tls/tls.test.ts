import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { type DownstreamTransportSocketFactory, noTransportOptions } from '../../network/transport_socket.ts';
import { alpnWire } from './alpn.ts';
import {
  TestAuthority,
  TestSecrets,
  certificateOf,
  downstream,
  handshake,
  secretOf,
  trust,
  trustSecret,
  upstream,
} from './testing.ts';

const mesh = new TestAuthority('mesh');
const other = new TestAuthority('other');
const a = mesh.issue('URI:spiffe://td/ns/a/sa/a');
const b = mesh.issue('URI:spiffe://td/ns/b/sa/b,DNS:b.example.com', '/O=acme, inc/CN=b');
const stranger = other.issue('URI:spiffe://other/ns/a/sa/a');
after(() => {
  mesh.close();
  other.close();
});

function serverConfig(more: object = {}, common: object = {}): object {
  return {
    requireClientCertificate: true,
    commonTlsContext: { tlsCertificates: [certificateOf(b)], ...trust(mesh.cert), ...common },
    ...more,
  };
}

function clientConfig(common: object = {}, more: object = {}): object {
  return {
    commonTlsContext: { tlsCertificates: [certificateOf(a)], ...trust(mesh.cert), ...common },
    ...more,
  };
}

const uri = (kind: string, value: string) => ({
  matchTypedSubjectAltNames: [{ sanType: 3, matcher: { matchPattern: { case: kind, value } } }],
});

test('mutual TLS: both sides know each other, bytes flow both ways', async (t) => {
  const { server, client } = await handshake(
    t,
    downstream(serverConfig({}, { alpnProtocols: ['h2', 'http/1.1'] })),
    upstream(clientConfig({ alpnProtocols: ['istio', 'http/1.1'] }, { sni: 'outbound_.80_._.b.svc' })),
  );
  assert.deepEqual(server.tls?.peerUriSans, ['spiffe://td/ns/a/sa/a']);
  assert.deepEqual(server.tls?.localUriSans, ['spiffe://td/ns/b/sa/b']);
  assert.equal(server.tls?.localSubject, 'CN=b,O=acme\\, inc');
  assert.equal(server.tls?.peerCertificateValidated, true);
  assert.equal(server.tls?.version, 'TLSv1.3');
  assert.equal(server.tls?.cipher, 'TLS_AES_128_GCM_SHA256');
  assert.ok(Buffer.isBuffer(server.tls?.peerCertificateDer));
  assert.deepEqual(client.tls?.peerDnsSans, ['b.example.com']);
  assert.equal(client.tls?.peerSubject, 'CN=b,O=acme\\, inc');
  assert.deepEqual([server.protocol, client.protocol], ['http/1.1', 'http/1.1']);
  assert.equal(server.tls?.serverName, 'outbound_.80_._.b.svc');
  server.socket!.on('data', (data: Buffer) => server.socket!.write(`echo ${data.toString()}`));
  server.socket!.resume();
  client.socket!.write('hello');
  const [answer] = (await once(client.socket!, 'data')) as [Buffer];
  assert.equal(answer.toString(), 'echo hello');
});

test('the server refuses clients without certificate and clients of another authority', async (t) => {
  const nobody = upstream({ commonTlsContext: trust(mesh.cert) });
  const none = await handshake(t, downstream(serverConfig()), nobody);
  assert.equal(
    none.server.failure,
    'TLS_error:|268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:TLS_error_end',
  );
  const foreign = upstream(clientConfig({ tlsCertificates: [certificateOf(stranger)] }));
  const refused = await handshake(t, downstream(serverConfig()), foreign);
  assert.match(
    refused.server.failure ?? '',
    /^TLS_error:\|268435581:.*CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert/,
  );
  // Optional: a client without a certificate may come, one with a bad certificate may not.
  const optional = downstream(serverConfig({ requireClientCertificate: false }));
  const anonymous = await handshake(t, optional, nobody);
  assert.equal(anonymous.server.tls?.peerCertificateValidated, false);
  assert.ok((await handshake(t, optional, foreign)).server.failure !== undefined);
});

test('the client refuses servers by chain and by name, with the texts of Envoy', async (t) => {
  const bare = downstream({ commonTlsContext: { tlsCertificates: [certificateOf(b)] } });
  const chain = await handshake(t, bare, upstream({ commonTlsContext: trust(other.cert) }));
  assert.match(
    chain.client.failure ?? '',
    /^TLS_error:\|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:/,
  );
  const wrong = upstream({ commonTlsContext: trust(mesh.cert, uri('exact', 'spiffe://td/ns/x/sa/x')) });
  assert.equal(
    (await handshake(t, bare, wrong)).client.failure,
    'TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: SAN matcher, certificate SANs are [spiffe://td/ns/b/sa/b, b.example.com]:TLS_error_end',
  );
  for (const [kind, value] of [
    ['exact', 'spiffe://td/ns/b/sa/b'],
    ['prefix', 'spiffe://td/'],
    ['suffix', '/sa/b'],
    ['contains', '/ns/b/'],
  ] as const) {
    const right = upstream({ commonTlsContext: trust(mesh.cert, uri(kind, value)) });
    assert.equal((await handshake(t, bare, right)).client.failure, undefined, kind);
  }
  const named = upstream({ commonTlsContext: trust(mesh.cert) });
  const override = (name: string) => ({ ...noTransportOptions, verifySubjectAltNames: [name] });
  assert.equal((await handshake(t, bare, named, override('b.example.com'))).client.failure, undefined);
  assert.ok((await handshake(t, bare, named, override('c.example.com'))).client.failure !== undefined);
});

test('without a validation context any peer is accepted, and says so', async (t) => {
  const bare = downstream({ commonTlsContext: { tlsCertificates: [certificateOf(b)] } });
  const { client, server } = await handshake(t, bare, upstream({}));
  assert.equal(client.tls?.peerCertificateValidated, false);
  assert.equal(server.failure, undefined);
});

test('expired certificates, revoked certificates, pins', async (t) => {
  const old = mesh.issue('URI:spiffe://td/ns/old/sa/old', '/CN=old', -1);
  const expired = upstream(clientConfig({ tlsCertificates: [certificateOf(old)] }));
  const strict = await handshake(t, downstream(serverConfig()), expired);
  assert.match(strict.server.failure ?? '', /certificate has expired/);
  const lax = downstream(serverConfig({}, trust(mesh.cert, { allowExpiredCertificate: true })));
  assert.equal((await handshake(t, lax, expired)).server.failure, undefined);

  const crl = { crl: { specifier: { case: 'inlineString', value: mesh.revoke(a) } } };
  const withCrl = downstream(serverConfig({}, trust(mesh.cert, crl)));
  assert.match((await handshake(t, withCrl, upstream(clientConfig()))).server.failure ?? '', /revoked/);
  const fine = upstream(clientConfig({ tlsCertificates: [certificateOf(b)] }));
  assert.equal((await handshake(t, withCrl, fine)).server.failure, undefined);

  const der = Buffer.from(a.cert.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const hash = createHash('sha256').update(der).digest('hex');
  const pinned = downstream(serverConfig({}, trust(mesh.cert, { verifyCertificateHash: [hash] })));
  assert.equal((await handshake(t, pinned, upstream(clientConfig()))).server.failure, undefined);
  assert.match((await handshake(t, pinned, fine)).server.failure ?? '', /pinned/);
});

test('versions and ciphers', async (t) => {
  const params = (low: number, high: number, more: object = {}) => ({
    tlsParams: { tlsMinimumProtocolVersion: low, tlsMaximumProtocolVersion: high, ...more },
  });
  const twelve = await handshake(
    t,
    downstream(
      serverConfig(
        {},
        params(3, 3, { cipherSuites: ['[ECDHE-ECDSA-AES256-GCM-SHA384|ECDHE-ECDSA-AES128-GCM-SHA256]'] }),
      ),
    ),
    upstream(clientConfig()),
  );
  assert.deepEqual(
    [twelve.server.tls?.version, twelve.client.tls?.cipher],
    ['TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  );
  const apart = await handshake(
    t,
    downstream(serverConfig({}, params(4, 4))),
    upstream(clientConfig(params(3, 3))),
  );
  assert.match(apart.server.failure ?? '', /UNSUPPORTED_PROTOCOL/);
  assert.equal(
    apart.client.failure,
    'TLS_error:|268436526:SSL routines:OPENSSL_internal:TLSV1_ALERT_PROTOCOL_VERSION:TLS_error_end',
  );
});

test('ALPN without a common protocol goes on without one when the inspector saw the offer', async (t) => {
  const server = downstream(serverConfig({}, { alpnProtocols: ['h2'] }));
  const offered = ['http/1.1'];
  const { server: side } = await handshake(
    t,
    server,
    upstream(clientConfig({ alpnProtocols: offered })),
    noTransportOptions,
    offered,
  );
  assert.equal(side.protocol, '');
  assert.equal(alpnWire(['h2', 'http/1.1']).toString('latin1'), '\x02h2\x08http/1.1');
  const chosen = { ...noTransportOptions, applicationProtocols: ['x', 'h2'] };
  assert.equal((await handshake(t, server, upstream(clientConfig()), chosen)).server.protocol, 'h2');
});

test('secrets: ready when all are there, a new version serves new handshakes, a broken one changes nothing', async (t) => {
  const secrets = new TestSecrets();
  const server = downstream(
    {
      requireClientCertificate: true,
      commonTlsContext: {
        tlsCertificateSdsSecretConfigs: [{ name: 'default' }],
        validationContextType: {
          case: 'combinedValidationContext',
          value: {
            defaultValidationContext: uri('prefix', 'spiffe://td/'),
            validationContextSdsSecretConfig: { name: 'ROOTCA' },
          },
        },
      },
    },
    secrets,
  );
  let ready = 0;
  server.onReady(() => ready++);
  secrets.deliver(secretOf('default', b));
  assert.deepEqual([server.ready, ready], [false, 0]);
  secrets.deliver(trustSecret('ROOTCA', mesh.cert));
  assert.deepEqual([server.ready, ready], [true, 1]);
  const client = upstream(clientConfig());
  const first = await handshake(t, server, client);
  assert.deepEqual(first.client.tls?.peerUriSans, ['spiffe://td/ns/b/sa/b']);
  const rotated = mesh.issue('URI:spiffe://td/ns/b/sa/rotated');
  secrets.deliver(secretOf('default', rotated));
  const second = await handshake(t, server, client);
  assert.deepEqual(second.client.tls?.peerUriSans, ['spiffe://td/ns/b/sa/rotated']);
  // The first connection lives on.
  first.server.socket!.resume().on('data', (data: Buffer) => first.server.socket!.write(data));
  first.client.socket!.write('still here');
  assert.equal(String((await once(first.client.socket!, 'data'))[0]), 'still here');
  secrets.deliver(secretOf('default', { cert: rotated.cert, key: a.key }));
  const third = await handshake(t, server, client);
  assert.deepEqual(third.client.tls?.peerUriSans, ['spiffe://td/ns/b/sa/rotated']);
  assert.deepEqual([server.ready, ready], [true, 1]);
  server.close();
  assert.equal(secrets.open, 0);
});

test('bad inline material is an error of the configuration', () => {
  assert.throws(() => downstream({ commonTlsContext: {} }), /needs a certificate/);
  assert.throws(
    () => downstream({ commonTlsContext: { tlsCertificates: [{}] } }),
    /certificate_chain and private_key/,
  );
  assert.throws(() =>
    upstream({ commonTlsContext: trust('-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----') }),
  );
});

test('a peer that is no TLS server, and one that leaves', async (t) => {
  const answering = (answer: string): DownstreamTransportSocketFactory => ({
    secure: false,
    ready: true,
    onReady() {},
    close() {},
    wrap(socket, _info, callbacks) {
      socket.on('data', () => socket.end(answer));
      socket.resume();
      callbacks.onTransportFailure('');
    },
  });
  const plain = await handshake(t, answering('HTTP/1.1 400 Bad Request\r\n\r\n'), upstream(clientConfig()));
  assert.equal(
    plain.client.failure,
    'TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end',
  );
  const gone = await handshake(t, answering(''), upstream(clientConfig()));
  assert.equal(gone.client.failure, '');
});
