/** Mutual TLS: identities, alternative names, pins, revocation, x-forwarded-client-cert, certificates by name, sessions. */
import assert from 'node:assert/strict';
import { X509Certificate, createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { type Identity, TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { type Run, conformance } from '../harness/conformance.ts';
import type { Echo } from '../harness/echo_backend.ts';
import { type Reply, converse } from '../harness/tcp_client.ts';

const mesh = new TestAuthority('mesh');
const other = new TestAuthority('other');
after(() => {
  mesh.close();
  other.close();
});
const client = mesh.issue(
  'URI:spiffe://cluster.local/ns/a/sa/client,DNS:client.example.com',
  '/O=acme/CN=client',
);
const server = mesh.issue('URI:spiffe://cluster.local/ns/b/sa/server,DNS:server.example.com');
const second = mesh.issue('DNS:second.example.com,DNS:*.wild.example.com');
const revoked = mesh.issue('URI:spiffe://cluster.local/ns/a/sa/revoked');
const stranger = other.issue('URI:spiffe://cluster.local/ns/a/sa/client');
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest();
const clientHash = sha256(new X509Certificate(client.cert).raw).toString('hex');
const spkiOf = ({ cert }: Identity) =>
  sha256(new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })).toString('base64');

/** Listeners that differ in what they ask of clients, by name; the value is the validation context. */
const demands: Readonly<Record<string, object>> = {
  exact: { match_typed_subject_alt_names: [uri({ exact: 'spiffe://cluster.local/ns/a/sa/client' })] },
  exact_other: { match_typed_subject_alt_names: [uri({ exact: 'spiffe://cluster.local/ns/a/sa/other' })] },
  prefix: { match_typed_subject_alt_names: [uri({ prefix: 'spiffe://cluster.local/' })] },
  suffix: { match_typed_subject_alt_names: [uri({ suffix: '/sa/client' })] },
  suffix_other: { match_typed_subject_alt_names: [uri({ suffix: '/sa/server' })] },
  contains: { match_typed_subject_alt_names: [uri({ contains: '/ns/a/' })] },
  regex: { match_typed_subject_alt_names: [uri({ safe_regex: { regex: 'spiffe://[^/]+/ns/[a-c]/sa/.*' } })] },
  regex_part: { match_typed_subject_alt_names: [uri({ safe_regex: { regex: 'ns/[a-c]' } })] },
  any_case: {
    match_typed_subject_alt_names: [
      uri({ exact: 'SPIFFE://CLUSTER.LOCAL/ns/a/sa/CLIENT', ignore_case: true }),
    ],
  },
  dns: { match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'client.example.com' } }] },
  hash: { verify_certificate_hash: [clientHash] },
  hash_other: { verify_certificate_hash: ['ab'.repeat(32)] },
  hash_colons: { verify_certificate_hash: [(clientHash.match(/../g) ?? []).join(':').toUpperCase()] },
  spki: { verify_certificate_spki: [spkiOf(client)] },
  spki_other: { verify_certificate_spki: [spkiOf(server)] },
};
const welcome = new Set([
  'exact',
  'prefix',
  'suffix',
  'contains',
  'regex',
  'any_case',
  'dns',
  'hash',
  'hash_colons',
  'spki',
]);

function uri(matcher: object): object {
  return { san_type: 'URI', matcher };
}

const tlsType = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const file = (directory: string, name: string) => ({ filename: join(directory, name) });
const certificate = (directory: string, name: string) => ({
  certificate_chain: file(directory, `${name}.pem`),
  private_key: file(directory, `${name}.key`),
});

/** Connections that never reach the filter are logged, too. */
const handshakeLog = {
  name: 'file',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
    path: '${dir}/handshakes.log',
    log_format: {
      text_format_source: {
        inline_string: '%RESPONSE_FLAGS% %BYTES_SENT% %DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n',
      },
    },
  },
};

function listener(name: string, context: object): object {
  const tcp = 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy';
  return {
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: `\${port:${name}}` } },
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.tcp_proxy',
            typed_config: {
              '@type': tcp,
              stat_prefix: name,
              cluster: 'app',
              ...(name === 'revoking' ? { access_log: [handshakeLog] } : {}),
            },
          },
        ],
        transport_socket: {
          name: 'envoy.transport_sockets.tls',
          typed_config: { '@type': `${tlsType}.DownstreamTlsContext`, ...context },
        },
      },
    ],
  };
}

function cluster(directory: string, name: string, port: string, validation: object, sni?: string): object {
  const address = { socket_address: { address: '127.0.0.1', port_value: `\${port:${port}}` } };
  return {
    name,
    type: 'STATIC',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${tlsType}.UpstreamTlsContext`,
        ...(sni === undefined ? {} : { sni }),
        common_tls_context: {
          alpn_protocols: ['http/1.1'],
          tls_certificates: [certificate(directory, 'client')],
          ...(Object.keys(validation).length === 0 ? {} : { validation_context: validation }),
        },
      },
    },
  };
}

/** JSON is YAML: one list entry a line. Port numbers lose their quotes. */
function entries(list: readonly object[]): string {
  return list
    .map((entry) => `    - ${JSON.stringify(entry).replaceAll(/"(\$\{port:\w+\})"/g, '$1')}`)
    .join('\n');
}

function resources(directory: string): { listeners: string; clusters: string } {
  const trusted_ca = file(directory, 'ca.pem');
  const listeners = Object.entries(demands).map(([name, demand]) =>
    listener(name, {
      require_client_certificate: true,
      common_tls_context: {
        tls_certificates: [certificate(directory, 'server')],
        validation_context: { trusted_ca, ...demand },
      },
    }),
  );
  const own = { tls_certificates: [certificate(directory, 'server'), certificate(directory, 'second')] };
  listeners.push(
    listener('optional', { common_tls_context: { ...own, validation_context: { trusted_ca } } }),
    listener('revoking', {
      require_client_certificate: true,
      common_tls_context: { ...own, validation_context: { trusted_ca, crl: file(directory, 'crl.pem') } },
    }),
    listener('tls12', {
      common_tls_context: {
        ...own,
        tls_params: {
          tls_minimum_protocol_version: 'TLSv1_2',
          tls_maximum_protocol_version: 'TLSv1_2',
          cipher_suites: ['ECDHE-ECDSA-AES256-GCM-SHA384'],
          ecdh_curves: ['P-256'],
        },
      },
    }),
    listener('no_tickets', {
      disable_stateless_session_resumption: true,
      disable_stateful_session_resumption: true,
      common_tls_context: own,
    }),
    listener('needs_name', { require_sni: true, common_tls_context: own }),
  );
  const named = (exact: string) => ({ match_typed_subject_alt_names: [uri({ exact })] });
  const clusters = [
    cluster(
      directory,
      'good',
      'any',
      { trusted_ca, ...named('spiffe://cluster.local/ns/b/sa/server') },
      'x.y',
    ),
    cluster(directory, 'wrong_name', 'any', { trusted_ca, ...named('spiffe://cluster.local/ns/b/sa/other') }),
    cluster(directory, 'wrong_ca', 'any', { trusted_ca: file(directory, 'other.pem') }),
    cluster(directory, 'revoked', 'any', { trusted_ca, crl: file(directory, 'crl_server.pem') }),
    cluster(directory, 'spki', 'any', { trusted_ca, verify_certificate_spki: [spkiOf(server)] }),
    cluster(directory, 'anything', 'any', {}),
  ];
  return { listeners: entries(listeners), clusters: entries(clusters) };
}

const request =
  'GET /x HTTP/1.1\r\nhost: a\r\nx-forwarded-client-cert: By=before\r\nconnection: close\r\n\r\n';

const come = (port: number, identity: Identity | undefined, tls: ConnectionOptions = {}): Promise<Reply> =>
  converse(port, {
    write: request,
    end: false,
    tls: { ...identity, servername: 'server.example.com', ...tls },
  });

const served = ({ text }: Reply): boolean => text.startsWith('HTTP/1.1 200');

/** What the application got as x-forwarded-client-cert. */
async function forwarded(run: Run, name: string, plain = false): Promise<string | undefined> {
  const reply = plain
    ? await converse(run.port(name), { write: request, end: false })
    : await come(run.port(name), client);
  assert.ok(served(reply), reply.text);
  const body = reply.text.slice(reply.text.indexOf('{'), reply.text.lastIndexOf('}') + 1);
  return (JSON.parse(body) as Echo).headers['x-forwarded-client-cert'];
}

conformance(import.meta.filename, {
  rows: ['5.37', '7.3', '7.19', '7.20'],
  setUp(directory) {
    const write = (name: string, text: string): void => writeFileSync(join(directory, name), text);
    for (const [name, identity] of Object.entries({ client, server, second })) {
      write(`${name}.pem`, identity.cert);
      write(`${name}.key`, identity.key);
    }
    write('ca.pem', mesh.cert);
    write('other.pem', other.cert);
    write('crl.pem', mesh.revoke(revoked));
    write('crl_server.pem', mesh.revoke(server));
    const { listeners, clusters } = resources(directory);
    return { listeners: listeners.replaceAll('${dir}', directory), clusters };
  },
  cases: {
    'who may come, by every kind of matcher and pin': async (run) => {
      const wrong: string[] = [];
      for (const name of Object.keys(demands))
        if (served(await come(run.port(name), client)) !== welcome.has(name)) wrong.push(name);
      assert.deepEqual(wrong, []);
    },
    'nobody without a certificate, and nobody of another authority': async (run) => {
      assert.ok(!served(await come(run.port('prefix'), undefined)));
      assert.ok(!served(await come(run.port('prefix'), stranger)));
      assert.ok(served(await come(run.port('optional'), undefined)));
      assert.ok(!served(await come(run.port('optional'), stranger)));
    },
    'revoked clients are turned away': async (run) => {
      assert.ok(served(await come(run.port('revoking'), client)));
      assert.ok(!served(await come(run.port('revoking'), revoked)));
      const [first = '', second = ''] = await run.lines('handshakes.log', 2);
      assert.match(first, /^- [1-9]\d* -$/);
      assert.match(second, /^- 0 TLS_error:.*CERTIFICATE_VERIFY_FAILED/);
    },
    'x-forwarded-client-cert, every mode': async (run) => {
      const by = 'By=spiffe://cluster.local/ns/b/sa/server';
      const who = 'URI=spiffe://cluster.local/ns/a/sa/client;DNS=client.example.com';
      const subject = 'Subject="CN=client,O=acme"';
      const hash = `Hash=${clientHash}`;
      assert.equal(await forwarded(run, 'any'), `By=before,${by};${hash};${subject};${who}`);
      const pem = encodeURIComponent(client.cert.slice(client.cert.indexOf('-----BEGIN')));
      assert.equal(await forwarded(run, 'sanitize_set'), `${by};${hash};Cert="${pem}";${subject};${who}`);
      assert.equal(await forwarded(run, 'sanitize'), undefined);
      assert.equal(await forwarded(run, 'forward_only'), 'By=before');
      assert.equal(await forwarded(run, 'always_forward_only', true), 'By=before');
    },
    'certificates by server name': async (run) => {
      for (const [name, expected] of [
        ['server.example.com', 'server.example.com'],
        ['second.example.com', 'second.example.com'],
        ['x.wild.example.com', 'second.example.com'],
        ['else.example.com', 'server.example.com'],
      ] as const) {
        const { tls } = await come(run.port('optional'), undefined, { servername: name });
        assert.match(tls?.altNames ?? '', new RegExp(expected), name);
      }
    },
    'versions, ciphers, a name that must be there': async (run) => {
      const old = { maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2' } as const;
      assert.ok(served(await come(run.port('tls12'), undefined)));
      assert.ok(
        served(
          await come(run.port('tls12'), undefined, { ...old, ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' }),
        ),
      );
      assert.ok(!served(await come(run.port('tls12'), undefined, { minVersion: 'TLSv1.3' })));
      assert.ok(
        !served(
          await come(run.port('tls12'), undefined, { ...old, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }),
        ),
      );
      assert.ok(served(await come(run.port('needs_name'), undefined)));
    },
    'sessions are resumed, where they may be': async (run) => {
      for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
        const first = await come(run.port('prefix'), client, { maxVersion });
        assert.ok(first.session !== undefined, maxVersion);
        const again = await come(run.port('prefix'), client, { maxVersion, session: first.session });
        assert.ok(served(again), maxVersion);
        assert.equal(again.tls?.reused, true, maxVersion);
      }
      const first = await come(run.port('prefix'), client);
      const elsewhere = await come(run.port('suffix_other'), client, { session: first.session });
      assert.ok(!served(elsewhere), 'a session is no way past other demands');
      const none = await come(run.port('no_tickets'), undefined, { maxVersion: 'TLSv1.2' });
      const full = await come(run.port('no_tickets'), undefined, {
        maxVersion: 'TLSv1.2',
        session: none.session,
      });
      assert.equal(full.tls?.reused, false);
    },
    'to upstreams: names, authorities, revocation, pins': async (run) => {
      for (const [path, status] of [
        ['/good', 200],
        ['/spki', 200],
        ['/anything', 200],
        ['/wrong_name', 503],
        ['/wrong_ca', 503],
        ['/revoked', 503],
      ] as const)
        assert.equal((await run.get(path)).status, status, path);
      const lines = await run.lines('out.log', 6);
      const [name, ca, crl] = lines.slice(3);
      assert.match(
        name ?? '',
        /^503 UF TLS_error:\|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:.*SAN/,
      );
      assert.match(ca ?? '', /^503 UF TLS_error:\|268435581:.*CERTIFICATE_VERIFY_FAILED/);
      assert.match(crl ?? '', /^503 UF TLS_error:\|268435581:.*CERTIFICATE_VERIFY_FAILED.*revoked/);
    },
    'sessions to upstreams': async (run) => {
      for (let i = 0; i < 3; i++) {
        const answer = await run.get('/good', { headers: { 'x-want-header': 'connection: close' } });
        assert.equal(answer.status, 200);
        const who = answer.echo().headers['x-forwarded-client-cert'];
        assert.match(who ?? '', /URI=spiffe:\/\/cluster\.local\/ns\/a\/sa\/client/);
      }
    },
    'the certificates of every listener and cluster': async (run) => {
      interface Shown {
        readonly path: string;
        readonly serial_number: string;
      }
      const page = JSON.parse((await run.admin('/certs')).body) as {
        readonly certificates: readonly { readonly ca_cert: Shown[]; readonly cert_chain: Shown[] }[];
      };
      const names = (list: readonly Shown[]): string => list.map(({ path }) => basename(path)).join('+');
      const counts = new Map<string, number>();
      for (const { ca_cert, cert_chain } of page.certificates) {
        const text = `${names(ca_cert)} ${names(cert_chain)}`;
        counts.set(text, (counts.get(text) ?? 0) + 1);
      }
      assert.deepEqual(Object.fromEntries(counts), {
        'ca.pem server.pem': Object.keys(demands).length + 4,
        'ca.pem server.pem+second.pem': 2,
        ' server.pem+second.pem': 3,
        'ca.pem client.pem': 4,
        'other.pem client.pem': 1,
        ' client.pem': 1,
      });
    },
    'what is counted': async (run) => {
      const text = (await run.admin('/stats')).body;
      const of = (port: string, name: string): number =>
        Number(
          new RegExp(`^listener\\.127\\.0\\.0\\.1_${run.port(port)}\\.ssl\\.${name}: (\\d+)$`, 'm').exec(
            text,
          )?.[1] ?? 0,
        );
      assert.ok(of('prefix', 'handshake') >= 4);
      assert.ok(of('prefix', 'session_reused') >= 2);
      assert.equal(of('suffix_other', 'fail_verify_san'), 2);
      assert.equal(of('hash_other', 'fail_verify_cert_hash'), 1);
      assert.equal(of('revoking', 'fail_verify_error'), 1);
      assert.ok(/^cluster\.good\.ssl\.handshake: [1-9]/m.test(text));
      assert.match(text, /^cluster\.wrong_name\.ssl\.fail_verify_san: [1-9]/m);
    },
  },
});
