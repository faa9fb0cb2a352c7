/** The listener filters together, on real sockets, under a listener with TLS and plain text chains as Istio's inbound one. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { type TestContext, after, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { DownstreamTlsContextSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { ListenerManager } from '../../listener_manager/listener_manager.ts';
import { echoAny, terminalExtension, testContext } from '../../listener_manager/testing.ts';
import { noSecrets } from '../../network/secret.ts';
import { downstreamTls } from '../../transport_sockets/tls/downstream.ts';
import { TestAuthority, certificateOf } from '../../transport_sockets/tls/testing.ts';
import { httpInspector } from './http_inspector/http_inspector.ts';
import { proxyProtocol } from './proxy_protocol/proxy_protocol.ts';
import { tlsInspector } from './tls_inspector/tls_inspector.ts';

const authority = new TestAuthority('listener');
after(() => authority.close());
const identity = authority.issue('DNS:a.example.com');

async function listen(t: TestContext, filters: string[]): Promise<number> {
  const manager = new ListenerManager({ sockets: { secrets: noSecrets } });
  t.after(() => manager.close());
  const context = testContext({
    listener_filter: [tlsInspector, httpInspector, proxyProtocol],
    'transport_socket.downstream': [downstreamTls],
    network_filter: [
      terminalExtension(({ socket, chain, info }) => {
        socket.write(`${chain.name} ${info.requestedServerName} ${info.remoteAddress.ip};`);
        socket.on('data', (data: Buffer) => socket.write(data));
        socket.on('end', () => socket.end());
        socket.resume();
      }),
    ],
  });
  const tls = {
    name: 'tls',
    configType: {
      case: 'typedConfig',
      value: anyPack(
        DownstreamTlsContextSchema,
        create(DownstreamTlsContextSchema, {
          commonTlsContext: { tlsCertificates: [certificateOf(identity)], alpnProtocols: ['istio', 'h2'] },
        } as never),
      ),
    },
  };
  const echo = [{ name: 'echo', configType: { case: 'typedConfig', value: echoAny } }];
  const config = create(ListenerSchema, {
    name: 'inbound',
    address: {
      address: {
        case: 'socketAddress',
        value: { address: '127.0.0.1', portSpecifier: { case: 'portValue', value: 0 } },
      },
    },
    listenerFilters: filters.map((name) => ({ name })),
    filterChains: [
      {
        name: 'mtls',
        filterChainMatch: { transportProtocol: 'tls', applicationProtocols: ['istio'] },
        transportSocket: tls,
        filters: echo,
      },
      { name: 'tls', filterChainMatch: { transportProtocol: 'tls' }, transportSocket: tls, filters: echo },
      {
        name: 'http',
        filterChainMatch: { transportProtocol: 'raw_buffer', applicationProtocols: ['http/1.1', 'h2c'] },
        filters: echo,
      },
      { name: 'tcp', filterChainMatch: { transportProtocol: 'raw_buffer' }, filters: echo },
    ],
  } as never);
  const staged = manager.stage(config, context);
  await new Promise<void>((resolve, reject) =>
    staged.activate((error) => (error === undefined ? resolve() : reject(error))),
  );
  return manager.get('inbound')!.boundAddresses[0]!.port;
}

const inspectors = ['envoy.filters.listener.tls_inspector', 'envoy.filters.listener.http_inspector'];

async function readUntil(socket: Socket, end: string): Promise<string> {
  let text = '';
  for await (const data of socket) {
    text += String(data);
    if (text.endsWith(end)) break;
  }
  return text;
}

test('TLS by ALPN, plain HTTP and other TCP find their chains, and no byte is lost', async (t) => {
  const port = await listen(t, inspectors);
  for (const [protocols, name, chosen] of [
    [['istio'], 'mtls', 'istio'],
    [['h2'], 'tls', 'h2'],
    [['http/1.1'], 'tls', false],
  ] as const) {
    const client = connectTls({
      port,
      host: '127.0.0.1',
      ca: authority.cert,
      servername: 'A.example.com',
      checkServerIdentity: () => undefined,
      ALPNProtocols: [...protocols],
    });
    t.after(() => client.destroy());
    client.write('first bytes.');
    assert.equal(await readUntil(client, '.'), `${name} a.example.com 127.0.0.1;first bytes.`);
    assert.equal(client.alpnProtocol, chosen);
  }
  for (const [text, name] of [
    ['GET / HTTP/1.1\r\n\r\n.', 'http'],
    ['hello, I am a database.', 'tcp'],
  ] as const) {
    const client = connect(port, '127.0.0.1');
    t.after(() => client.destroy());
    client.write(text);
    assert.equal(await readUntil(client, '.'), `${name}  127.0.0.1;${text}`);
  }
});

test('a client hello that is split at every byte still makes a handshake', async (t) => {
  const port = await listen(t, inspectors);
  // A relay cuts the hello after n bytes; the second half follows when the first was read.
  for (const cutAt of [1, 2, 4, 5, 6, 9, 43, 100, 200]) {
    const raw = connect(port, '127.0.0.1').setNoDelay(true);
    t.after(() => raw.destroy());
    await once(raw, 'connect');
    const { Duplex } = await import('node:stream');
    let sent = 0;
    const slow = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        const first = sent === 0 ? chunk.subarray(0, cutAt) : chunk;
        sent += chunk.length;
        raw.write(first);
        if (first === chunk) done();
        else
          setTimeout(() => {
            raw.write(chunk.subarray(cutAt));
            done();
          }, 10);
      },
    });
    raw.on('data', (data) => slow.push(data));
    const client = connectTls({
      socket: slow,
      ca: authority.cert,
      servername: 'a.example.com',
      ALPNProtocols: ['istio'],
    });
    client.write('x.');
    assert.equal(await readUntil(client, '.'), 'mtls a.example.com 127.0.0.1;x.', `cut at ${cutAt}`);
    raw.destroy();
  }
});

test('PROXY header, then TLS behind it', async (t) => {
  const port = await listen(t, ['envoy.filters.listener.proxy_protocol', ...inspectors]);
  const raw = connect(port, '127.0.0.1');
  t.after(() => raw.destroy());
  raw.write('PROXY TCP4 9.8.7.6 127.0.0.1 1000 80\r\n');
  const client = connectTls({
    socket: raw,
    ca: authority.cert,
    servername: 'a.example.com',
    ALPNProtocols: ['istio'],
  });
  client.write('x.');
  assert.equal(await readUntil(client, '.'), 'mtls a.example.com 9.8.7.6;x.');
  const refused = connect(port, '127.0.0.1');
  t.after(() => refused.destroy());
  refused.write('GET / HTTP/1.1\r\n\r\n');
  assert.equal(await readUntil(refused, '.'), '');
});
