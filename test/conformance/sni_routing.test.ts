/** TLS passthrough by server name (tls_inspector, server_names, sni_cluster). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { after } from 'node:test';
import { type Server, createServer } from 'node:tls';
import { TestAuthority } from '../../src/proxy/transport_sockets/tls/testing.ts';
import { conformance } from '../harness/conformance.ts';
import { TcpServers, converse } from '../harness/tcp_client.ts';

const authority = new TestAuthority('passthrough');
after(() => authority.close());
const identity = authority.issue('DNS:one.example.com,DNS:*.example.com');
const servers = new TcpServers();
let secure: Server[] = [];

/** A TLS application that says who it is and which name it was asked for. */
async function application(name: string): Promise<string> {
  const server = createServer({ ...identity, ALPNProtocols: ['special', 'h2'] }, (socket) => {
    socket.on('error', () => {});
    socket.end(`${name} ${socket.servername === false ? '-' : String(socket.servername ?? '-')}`);
  }).listen(0, '127.0.0.1');
  server.on('tlsClientError', () => {});
  await once(server, 'listening');
  secure.push(server);
  return String((server.address() as AddressInfo).port);
}

const ask = (port: number, servername?: string, more: object = {}) =>
  converse(port, { end: false, tls: { ...(servername === undefined ? {} : { servername }), ...more } });

conformance(import.meta.filename, {
  rows: ['5.5', '5.26'],
  backends: [],
  setUp: async () => ({
    one: await application('one'),
    two: await application('two'),
    plain: await servers.start((socket) => {
      socket.once('data', (data: Buffer) => socket.end(`plain:${data.toString()}`));
    }),
  }),
  tearDown() {
    servers.stop();
    for (const server of secure) server.close();
    secure = [];
  },
  cases: {
    'an exact name, in any case': async (run) => {
      assert.equal((await ask(run.port('in'), 'one.example.com')).text, 'one one.example.com');
      assert.equal((await ask(run.port('in'), 'ONE.Example.com')).text, 'one ONE.Example.com');
      const lines = await run.lines('one.log', 2);
      assert.deepEqual(lines, ['one.example.com one -', 'one.example.com one -']);
    },
    'a wildcard stands for any number of labels': async (run) => {
      assert.equal((await ask(run.port('in'), 'x.example.com')).text, 'two x.example.com');
      assert.equal((await ask(run.port('in'), 'a.b.example.com')).text, 'two a.b.example.com');
    },
    'by ALPN': async (run) => {
      const reply = await ask(run.port('in'), undefined, { ALPNProtocols: ['special'] });
      assert.match(reply.text, /^two /);
    },
    'sni_cluster goes where the name says': async (run) => {
      assert.equal((await ask(run.port('in'), 'one.by.name')).text, 'one one.by.name');
      assert.equal((await ask(run.port('in'), 'none.by.name')).text, '');
    },
    'what is no TLS takes the default chain': async (run) => {
      assert.equal(
        (await converse(run.port('in'), { write: 'hello\r\n', end: false })).text,
        'plain:hello\r\n',
      );
    },
    'no chain for it: closed, and logged by the listener': async (run) => {
      assert.equal((await converse(run.port('strict'), { write: 'hello, no TLS\r\n', end: false })).text, '');
      assert.equal((await run.lines('strict.log', 1))[0], 'NR -');
      assert.notEqual((await ask(run.port('strict'), 'other.example.com')).error, '');
      assert.equal((await ask(run.port('strict'), 'one.example.com')).text, 'one one.example.com');
    },
  },
});
