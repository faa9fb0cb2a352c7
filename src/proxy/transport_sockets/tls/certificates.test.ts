import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { noTransportOptions } from '../../network/transport_socket.ts';
import { TestAuthority, certificateOf, downstream, handshake, trust, upstream } from './testing.ts';

const authority = new TestAuthority('names');
after(() => authority.close());
const one = authority.issue('DNS:one.example.com');
const two = authority.issue('DNS:two.example.com,DNS:*.two.example.com');
const server = (): ReturnType<typeof downstream> =>
  downstream({ commonTlsContext: { tlsCertificates: [certificateOf(one), certificateOf(two)] } });
const client = upstream({ commonTlsContext: trust(authority.cert) });

for (const [seen, offered] of [
  ['by the TLS inspector', ['x']],
  ['in the handshake', undefined],
] as const)
  test(`several certificates, the name seen ${seen}`, async (t) => {
    for (const [name, expected] of [
      ['one.example.com', 'one.example.com'],
      ['two.example.com', 'two.example.com'],
      ['TWO.example.com', 'two.example.com'],
      ['a.two.example.com', 'two.example.com'],
      ['a.b.two.example.com', 'one.example.com'],
      ['other.example.com', 'one.example.com'],
      [undefined, 'one.example.com'],
    ] as const) {
      const options = { ...noTransportOptions, serverName: name };
      const hello = offered === undefined ? undefined : { serverName: (name ?? '').toLowerCase(), offered };
      const done = await handshake(t, server(), client, options, hello?.offered, hello?.serverName);
      assert.equal(done.client.tls?.peerDnsSans[0], expected, String(name));
    }
  });

test('an expired certificate is forgiven only where an authority of ours signed it', async (t) => {
  const forgiving = { allowExpiredCertificate: true };
  const over = authority.issue('DNS:old.example.com', '/', -1);
  const late = downstream({ commonTlsContext: { tlsCertificates: [certificateOf(over)] } });
  const tolerant = upstream({ commonTlsContext: trust(authority.cert, forgiving) });
  assert.equal((await handshake(t, late, tolerant)).client.failure, undefined);
  assert.match((await handshake(t, late, client)).client.failure ?? '', /certificate has expired/);
  const stranger = new TestAuthority('stranger');
  t.after(() => stranger.close());
  const foreign = stranger.issue('DNS:old.example.com', '/', -1);
  const fake = downstream({ commonTlsContext: { tlsCertificates: [certificateOf(foreign)] } });
  assert.match((await handshake(t, fake, tolerant)).client.failure ?? '', /CERTIFICATE_VERIFY_FAILED/);
});

test('addresses as alternative names, in any spelling', async (t) => {
  const six = authority.issue('IP:2001:db8::1,IP:10.1.2.3');
  const at = downstream({ commonTlsContext: { tlsCertificates: [certificateOf(six)] } });
  const wants = (value: string) =>
    upstream({
      commonTlsContext: trust(authority.cert, {
        matchTypedSubjectAltNames: [{ sanType: 4, matcher: { matchPattern: { case: 'exact', value } } }],
      }),
    });
  assert.equal((await handshake(t, at, wants('2001:db8::1'))).client.failure, undefined);
  assert.equal((await handshake(t, at, wants('10.1.2.3'))).client.failure, undefined);
  assert.match((await handshake(t, at, wants('2001:db8::2'))).client.failure ?? '', /SAN matcher/);
});

test('what is not there is refused by name', () => {
  const common = { tlsCertificates: [certificateOf(one)] };
  for (const [config, message] of [
    [{ commonTlsContext: { ...common, keyLog: { path: '/tmp/x' } } }, /key_log/],
    [
      { commonTlsContext: { ...common, ...trust(authority.cert, { onlyVerifyLeafCertCrl: true }) } },
      /only_verify/,
    ],
    [{ commonTlsContext: { ...common, ...trust(authority.cert, { verifyCertificateSpki: ['x'] }) } }, /spki/],
    [
      { commonTlsContext: { ...common, ...trust(authority.cert, { verifyCertificateHash: ['zz'] }) } },
      /hash/,
    ],
    [{ commonTlsContext: common, ocspStaplePolicy: 2 }, /OCSP/],
    [{ commonTlsContext: { tlsCertificates: [{ pkcs12: certificateOf(one) }] } }, /pkcs12/],
  ] as const)
    assert.throws(() => downstream(config), message);
});
