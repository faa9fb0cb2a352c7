/** Operators of access logs: alternatives, certificates of the client, queries. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { type Run, conformance } from '../harness/conformance.ts';

let client = { cert: '', key: '' };

function ask(run: Run, path: string, headers: Record<string, string>): Promise<void> {
  return new Promise((resolve, reject) => {
    request(
      {
        host: '127.0.0.1',
        port: run.port('in'),
        path,
        headers,
        agent: false,
        rejectUnauthorized: false,
        ...client,
      },
      (response) => response.resume().on('end', resolve),
    )
      .on('error', reject)
      .end();
  });
}

const linesPerRequest = 13;

/** Lines of the nth request, by their first word. */
async function logged(run: Run, n: number): Promise<Record<string, string>> {
  const lines = await run.lines('access.log', (n + 1) * linesPerRequest);
  return Object.fromEntries(
    lines.slice(n * linesPerRequest, (n + 1) * linesPerRequest).map((line) => {
      const blank = line.indexOf(' ');
      return [line.slice(0, blank), line.slice(blank + 1)];
    }),
  );
}

conformance(import.meta.filename, {
  rows: ['8.8', '8.13', '8.14'],
  setUp(directory) {
    const authority = new TestAuthority('Logged');
    const server = authority.issue('DNS:server,DNS:b.example,IP:1.2.3.4,IP:fd00::1');
    client = authority.issue(
      'URI:spiffe://td/ns/a/sa/b,DNS:example.com,IP:1.2.3.4,IP:fd00::1',
      '/O=Client/CN=me',
    );
    writeFileSync(join(directory, 'ca.pem'), authority.cert);
    writeFileSync(join(directory, 'cert.pem'), server.cert);
    writeFileSync(join(directory, 'key.pem'), server.key);
    authority.close();
    return {};
  },
  cases: {
    'COALESCE takes the first that has a value': async (run) => {
      await ask(run, '/p?a=1&b=2', { 'x-first': 'one', 'x-second': 'second' });
      await ask(run, '/p', { 'x-second': 'second' });
      await ask(run, '/p', {});
      assert.equal((await logged(run, 0))['coalesce'], 'one');
      assert.equal((await logged(run, 1))['coalesce'], 'sec');
      assert.equal((await logged(run, 2))['coalesce'], 'HTTP/1.1');
    },
    'names, serial and fingerprint of the client': async (run) => {
      const lines = await logged(run, 0);
      const certificate = new X509Certificate(client.cert);
      assert.equal(lines['ip'], '1.2.3.4,fd00::1');
      assert.equal(lines['dns'], 'example.com');
      assert.equal(lines['uri'], 'spiffe://td/ns/a/sa/b');
      assert.equal(lines['subject'], 'CN=me,O=Client');
      assert.equal(lines['issuer'], 'O=Logged');
      assert.equal(lines['serial'], certificate.serialNumber.toLowerCase());
      assert.equal(lines['fingerprint'], certificate.fingerprint256.replaceAll(':', '').toLowerCase());
      assert.equal(lines['tls'], 'TLSv1.3');
    },
    'query, path, counts': async (run) => {
      const lines = await logged(run, 0);
      assert.equal(lines['query'], '1 a=1&b=2 /p');
      assert.equal((await logged(run, 2))['query'], '- - /p');
      assert.equal(lines['chain'], '- DownstreamEnd 0');
      assert.equal(lines['bytes'], '0 2 -');
    },
    'names of our own certificate': async (run) => {
      const { local } = await logged(run, 0);
      assert.equal(local, 'server,b.example 1.2.3.4,fd00::1 -');
    },
  },
});
