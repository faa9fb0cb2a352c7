import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { createSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { NameTableSchema, type NameTable } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { silentLogger } from '#base/log.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { toPrometheusText } from '#telemetry/prometheus_text.ts';
import { DnsServer, type DnsServerOptions } from './dns_server.ts';
import { isAnswerTo, isTruncated, parseQuery, rcode, writeAnswer } from './message.ts';
import { NameLookup } from './name_table.ts';
import { parseResolvConf, parseUpstream } from './resolv_conf.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

function k8s(shortname: string, namespace: string, ...ips: string[]) {
  return { ips, registry: 'Kubernetes', shortname, namespace };
}

const table = create(NameTableSchema, {
  table: {
    'reviews.default.svc.cluster.local': k8s('reviews', 'default', '10.0.0.1'),
    'ratings.other.svc.cluster.local': k8s('ratings', 'other', '10.0.0.2', '2001:db8::2'),
    'mysql-0.mysql.default.svc.cluster.local': k8s('mysql-0.mysql', 'default', '10.1.0.1'),
    'www.example.com': { ips: ['240.240.0.1'], registry: 'External' },
    '*.wild.example': { ips: ['240.240.0.2'], registry: 'External' },
    '*.deep.wild.example': { ips: ['240.240.0.3'], registry: 'External' },
    'Many.example': { ips: Array.from({ length: 60 }, (_, i) => `10.2.0.${i}`), registry: 'External' },
  },
});

async function start(options: Partial<DnsServerOptions> = {}, names: NameTable | null = table) {
  const metrics = new MetricsRegistry();
  const server = new DnsServer({
    endpoint: { address: '127.0.0.1', port: 0 },
    namespace: 'default',
    domain: 'default.svc.cluster.local',
    upstreams: [],
    metrics,
    log: silentLogger,
    random: () => 0,
    ...options,
  });
  if (names !== null) server.setTable(names);
  const port = await server.listen();
  cleanups.push(() => server.close());
  const resolver = new Resolver({ timeout: 3000, tries: 1 });
  resolver.setServers([`127.0.0.1:${port}`]);
  return { server, port, resolver, metrics };
}

for (const [name, addresses] of [
  ['reviews', ['10.0.0.1']],
  ['reviews.default', ['10.0.0.1']],
  ['Reviews.Default.SVC', ['10.0.0.1']],
  ['reviews.default.svc.cluster.local', ['10.0.0.1']],
  ['reviews.default.svc.cluster.local.default.svc.cluster.local', ['10.0.0.1']],
  ['ratings.other', ['10.0.0.2']],
  ['ratings.other.default.svc.cluster.local', ['10.0.0.2']],
  ['ratings', 'ENOTFOUND'],
  ['mysql-0.mysql', ['10.1.0.1']],
  ['www.example.com', ['240.240.0.1']],
  ['www.example.com.default.svc.cluster.local', ['240.240.0.1']],
  ['www.example.com.other.svc.cluster.local', 'ENOTFOUND'],
  ['a.wild.example', ['240.240.0.2']],
  ['a.b.wild.example', ['240.240.0.2']],
  ['a.deep.wild.example', ['240.240.0.3']],
  ['a.wild.example.default.svc.cluster.local', ['240.240.0.2']],
  ['wild.example', 'ENOTFOUND'],
  ['nobody', 'ENOTFOUND'],
] as const) {
  test(`A ${name}`, async () => {
    const { resolver } = await start();
    const answer = resolver.resolve4(name);
    if (typeof addresses === 'string') await assert.rejects(answer, { code: addresses });
    else assert.deepEqual(await answer, addresses);
  });
}

test('AAAA of a name with and without IPv6, life of answers, aliases', async () => {
  const { resolver } = await start();
  assert.deepEqual(await resolver.resolve6('ratings.other'), ['2001:db8::2']);
  await assert.rejects(resolver.resolve6('reviews'), { code: 'ENODATA' });
  assert.deepEqual(await resolver.resolve4('reviews', { ttl: true }), [{ address: '10.0.0.1', ttl: 30 }]);
});

test('the addresses of a name come in turn', async () => {
  const { resolver } = await start({ random: () => 0.5 });
  const answer = await resolver.resolve4('many.example');
  assert.equal(answer.length, 60, 'over TCP after truncation');
  assert.equal(answer[0], '10.2.0.30');
});

test('what the mesh does not know is asked upstream', async () => {
  const other = create(NameTableSchema, { table: { 'else.example': { ips: ['9.9.9.9'] } } });
  const upstream = await start({}, other);
  const dead = createSocket('udp4');
  await new Promise<void>((resolve) => dead.bind(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise<void>((resolve) => dead.close(() => resolve())));
  const upstreams = [
    { address: '127.0.0.1', port: dead.address().port },
    { address: '127.0.0.1', port: upstream.port },
  ];
  const first = await start({ upstreams, upstreamTimeoutMs: 100 });
  assert.deepEqual(await first.resolver.resolve4('else.example'), ['9.9.9.9']);
  await assert.rejects(first.resolver.resolve4('nobody.example'), { code: 'ENOTFOUND' });
  await assert.rejects(first.resolver.resolveTxt('reviews.default'), { code: 'ENOTFOUND' });
  const parallel = await start({ upstreams, upstreamTimeoutMs: 2000, forwardParallel: true });
  const begin = performance.now();
  assert.deepEqual(await parallel.resolver.resolve4('else.example'), ['9.9.9.9']);
  assert.ok(performance.now() - begin < 1500);
  const none = await start({ upstreams: upstreams.slice(0, 1), upstreamTimeoutMs: 50 });
  await assert.rejects(none.resolver.resolve4('else.example'), { code: 'ESERVFAIL' });
  const page = toPrometheusText(none.metrics.snapshot());
  assert.match(page, /istio_agent_dns_requests_total 1\n/);
  assert.match(page, /istio_agent_dns_upstream_failures_total 1\n/);
});

test('a table without names, and a new table', async () => {
  const { server, resolver } = await start({}, null);
  await assert.rejects(resolver.resolve4('reviews'), { code: 'ENOTFOUND' });
  server.setTable(table);
  assert.deepEqual(await resolver.resolve4('reviews'), ['10.0.0.1']);
});

function query(name: string, type = 1, id = 7): Buffer {
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([
    Buffer.from([0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    ...labels,
    Buffer.from([0, 0, type, 0, 1]),
  ]);
}

test('several questions on one TCP connection, cut into single bytes', async () => {
  const { port } = await start();
  const socket = connect(port, '127.0.0.1');
  cleanups.push(() => socket.destroy());
  const frames = [query('reviews', 1, 1), query('ratings.other', 28, 2)].map((message) =>
    Buffer.concat([Buffer.from([0, message.length]), message]),
  );
  for (const byte of Buffer.concat(frames)) socket.write(Buffer.from([byte]));
  let received = Buffer.alloc(0);
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk]);
    const first = received.length > 2 ? 2 + received.readUInt16BE(0) : Infinity;
    if (received.length > first + 2 && received.length >= first + 2 + received.readUInt16BE(first)) break;
  }
  assert.equal(received.readUInt16BE(2), 1);
  assert.ok(received.includes(Buffer.from([10, 0, 0, 1])));
  assert.ok(received.includes(Buffer.from('20010db8000000000000000000000002', 'hex')));
});

test('messages that are no single query', async () => {
  const { server } = await start();
  const code = async (message: Buffer) => (await server.resolve(message, 'udp'))?.readUInt16BE(2);
  const good = query('reviews');
  const with2 = (at: number, value: number) => {
    const copy = Buffer.from(good);
    copy.writeUInt16BE(value, at);
    return copy;
  };
  assert.equal(await code(with2(2, 0x8100)), undefined, 'an answer');
  assert.equal((await code(with2(2, 0x2900)))! & 0xf, rcode.notImp, 'another opcode');
  assert.equal((await code(with2(4, 2)))! & 0xf, rcode.formErr, 'two questions');
  assert.equal((await code(good.subarray(0, 15)))! & 0xf, rcode.formErr, 'cut off');
  assert.equal(await code(good.subarray(0, 11)), undefined, 'no header');
  const pointer = Buffer.concat([good.subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
  assert.equal((await code(pointer))! & 0xf, rcode.formErr, 'a name that points to itself');
});

test('any bytes give an answer to the same identifier or none, and never an exception', async () => {
  const server = new DnsServer({
    endpoint: { address: '127.0.0.1', port: 0 },
    namespace: 'default',
    domain: 'default.svc.cluster.local',
    upstreams: [],
    metrics: new MetricsRegistry(),
    log: silentLogger,
  });
  server.setTable(table);
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(fc.nat(30), fc.nat(255)).map(([at, value]) => {
      const copy = query('reviews.default');
      copy[at % copy.length] = value;
      return copy;
    }),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (message) => {
      const answer = await server.resolve(Buffer.from(message), 'udp');
      if (answer === undefined) return;
      assert.equal(answer.readUInt16BE(0), Buffer.from(message).readUInt16BE(0));
      assert.ok(answer.length <= 4096);
    }),
    { numRuns: 3000 },
  );
});

test('answers must match identifier and question', () => {
  const parsed = parseQuery(query('Reviews'));
  assert.equal(parsed.kind, 'query');
  if (parsed.kind !== 'query') return;
  const answer = writeAnswer(parsed.query, rcode.noError, undefined, 512);
  assert.ok(isAnswerTo(answer, 7, parsed.query.question));
  assert.ok(
    isAnswerTo(answer, 7, Buffer.from(parsed.query.question.toString('latin1').toLowerCase(), 'latin1')),
  );
  assert.ok(!isAnswerTo(answer, 8, parsed.query.question));
  assert.ok(!isAnswerTo(answer, 7, query('ratings').subarray(12)));
  const addresses = Array.from({ length: 60 }, () => Buffer.from([1, 2, 3, 4]));
  const cut = writeAnswer(parsed.query, rcode.noError, { alias: undefined, addresses, ttlS: 1 }, 512);
  assert.ok(isTruncated(cut) && cut.length < 100);
});

test('IPv6 addresses in all their forms', () => {
  const find = (ip: string) => {
    const names = create(NameTableSchema, { table: { a: { ips: [ip] } } });
    return new NameLookup(names, 'x', 'x.svc.cluster.local').find('a.')?.v6[0]?.toString('hex');
  };
  assert.equal(find('::1'), '00000000000000000000000000000001');
  assert.equal(find('fe80::1:2'), 'fe800000000000000000000000010002');
  assert.equal(find('1:2:3:4:5:6:7:8'), '00010002000300040005000600070008');
  assert.equal(find('::ffff:1.2.3.4'), '00000000000000000000ffff01020304');
});

test('resolv.conf and upstream addresses', () => {
  assert.deepEqual(
    parseResolvConf(
      '# x\nsearch a b\nnameserver 10.0.0.10\n nameserver\t::1 \nnameserver nonsense\noptions ndots:5',
    ),
    [
      { address: '10.0.0.10', port: 53 },
      { address: '::1', port: 53 },
    ],
  );
  assert.deepEqual(parseUpstream('1.1.1.1'), { address: '1.1.1.1', port: 53 });
  assert.deepEqual(parseUpstream('[::1]:5353'), { address: '::1', port: 5353 });
  for (const text of ['a', '1.1.1.1:', '1.1.1.1:99999', '1.1.1'])
    assert.equal(parseUpstream(text), undefined);
});

test('an upstream server over TCP that answers nonsense', async () => {
  const server = createServer((socket) => socket.resume().end(Buffer.from([0, 2, 1, 1])));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const { port } = server.address() as AddressInfo;
  const { server: dns } = await start({
    upstreams: [{ address: '127.0.0.1', port }],
    upstreamTimeoutMs: 500,
  });
  const answer = await dns.resolve(query('nobody.example'), 'tcp');
  assert.equal(answer!.readUInt16BE(2) & 0xf, rcode.servFail);
});
