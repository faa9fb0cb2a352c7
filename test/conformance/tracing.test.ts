/** Spans: what is passed on, what is reported, and how both sides of a call name it. */
import assert from 'node:assert/strict';
import {
  type Export,
  Collector,
  attributesOf,
  bytesOf,
  readOtlp,
  textOf,
} from '../harness/otlp_collector.ts';
import { type Run, conformance } from '../harness/conformance.ts';
import { type Answer, send } from '../harness/http_request.ts';

let collector: Collector | undefined;

const traceId = '463ac35c9f6413ad48485a3953bb6124';
const parentId = 'a2fb4a1d1a96d312';

function request(
  run: Run,
  port: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return send(run.port(port), path, { headers: { 'user-agent': 'test', host: 'shop.example', ...headers } });
}

async function take(count = 1): Promise<Export[]> {
  assert.ok(collector !== undefined);
  return await collector.take(count);
}

interface ZipkinSpan {
  readonly traceId: string;
  readonly id: string;
  readonly parentId?: string;
  readonly name: string;
  readonly kind: string;
  readonly shared?: boolean;
  readonly timestamp: number;
  readonly duration: number;
  readonly localEndpoint: { readonly serviceName: string };
  readonly tags: Readonly<Record<string, string>>;
}

async function zipkinSpan(): Promise<ZipkinSpan> {
  const [sent] = await take();
  assert.equal(sent?.path, '/api/v2/spans');
  assert.equal(sent.headers['content-type'], 'application/json');
  assert.equal(sent.headers['host'], 'collector');
  const spans = JSON.parse(sent.body.toString()) as ZipkinSpan[];
  assert.equal(spans.length, 1);
  return spans[0] as ZipkinSpan;
}

/** Tags that differ from run to run are checked for their form and taken out. */
function fixed(tags: Readonly<Record<string, string>>): Record<string, string> {
  const { 'guid:x-request-id': id = '', response_size: size = '', ...rest } = tags;
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-9[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/);
  assert.match(size, /^\d+$/);
  return rest;
}

const common = {
  node_id: 'node1',
  zone: 'z1',
  component: 'proxy',
  'http.method': 'GET',
  'http.protocol': 'HTTP/1.1',
  'peer.address': '127.0.0.1',
  downstream_cluster: '-',
  user_agent: 'test',
  upstream_cluster: 'app',
  'upstream_cluster.name': 'app',
  request_size: '0',
  'http.status_code': '200',
  response_flags: '-',
};

conformance(import.meta.filename, {
  rows: ['8.6'],
  async setUp() {
    collector = await Collector.start();
    return { collector: String(collector.httpPort), grpc: String(collector.grpcPort) };
  },
  tearDown: () => collector?.stop(),
  cases: {
    'Zipkin, inbound: a new trace': async (run) => {
      const { headers } = (await request(run, 'in', '/a?b=c', { 'x-tag': 'v' })).echo();
      const span = await zipkinSpan();
      assert.match(span.traceId, /^[0-9a-f]{16}$/);
      assert.equal(span.id, span.traceId);
      assert.equal(span.parentId, undefined);
      assert.equal(headers['x-b3-traceid'], span.traceId);
      assert.equal(headers['x-b3-spanid'], span.id);
      assert.equal(headers['x-b3-sampled'], '1');
      assert.equal(headers['x-b3-parentspanid'], undefined);
      assert.equal(span.name, 'shop.example');
      assert.equal(span.kind, 'SERVER');
      assert.equal(span.shared, true);
      assert.equal(span.localEndpoint.serviceName, 'svc1');
      assert.ok(span.duration > 0 && Math.abs(span.timestamp / 1000 - Date.now()) < 60_000);
      assert.deepEqual(fixed(span.tags), {
        ...common,
        'http.url': 'http://shop.example/a?b=c',
        literal: 'x',
        variable: 'd',
        header: 'v',
        cluster: 'of-cluster',
      });
    },
    'Zipkin, inbound: a trace that came, a failure, an operation': async (run) => {
      const answer = await request(run, 'in', '/named', {
        'x-b3-traceid': traceId,
        'x-b3-spanid': parentId,
        'x-b3-parentspanid': '0000000000000001',
        'x-b3-sampled': '1',
        'x-want-status': '503',
      });
      const span = await zipkinSpan();
      assert.equal(answer.headers['x-envoy-decorator-operation'], 'my-operation');
      const { headers } = answer.echo();
      assert.equal(headers['x-b3-spanid'], parentId);
      assert.equal(headers['x-b3-parentspanid'], '0000000000000001');
      assert.deepEqual(
        [span.traceId, span.id, span.parentId, span.name, span.shared],
        [traceId, parentId, '0000000000000001', 'my-operation', true],
      );
      assert.equal(span.tags['error'], 'true');
      assert.equal(span.tags['http.status_code'], '503');
      assert.equal(span.tags['header'], 'none');
    },
    'Zipkin, inbound: the client names the operation': async (run) => {
      const answer = await request(run, 'in', '/named', { 'x-envoy-decorator-operation': 'of-client' });
      assert.equal((await zipkinSpan()).name, 'of-client');
      assert.equal(answer.headers['x-envoy-decorator-operation'], undefined);
      assert.equal(answer.echo().headers['x-envoy-decorator-operation'], undefined);
      const quiet = await request(run, 'in', '/quiet');
      assert.equal((await zipkinSpan()).name, 'quiet');
      assert.equal(quiet.headers['x-envoy-decorator-operation'], undefined);
    },
    'Zipkin, outbound: a child, a short path, the operation goes along': async (run) => {
      const answer = await request(run, 'zipkin-out', '/named/long', {
        b3: `${traceId}-${parentId}-1`,
        'x-want-header': 'x-envoy-decorator-operation: of-server',
      });
      const span = await zipkinSpan();
      const { headers } = answer.echo();
      assert.equal(headers['x-envoy-decorator-operation'], 'my-operation');
      assert.equal(answer.headers['x-envoy-decorator-operation'], undefined);
      assert.equal(span.name, 'of-server');
      assert.equal(span.kind, 'CLIENT');
      assert.equal(span.shared, undefined);
      assert.equal(span.traceId, traceId);
      assert.equal(span.parentId, parentId);
      assert.notEqual(span.id, parentId);
      assert.equal(headers['b3'], `${traceId}-${span.id}-1-${parentId}`);
      assert.equal(headers['x-b3-spanid'], undefined);
      assert.equal(span.tags['http.url'], 'http://shop.example/name');
    },
    'not sampled: passed on, not reported': async (run) => {
      const { headers } = (await request(run, 'none', '/')).echo();
      assert.equal(headers['x-b3-sampled'], '0');
      assert.match(headers['x-request-id'] ?? '', /^.{14}4/);
      const refused = (
        await request(run, 'in', '/', {
          'x-b3-traceid': traceId,
          'x-b3-spanid': parentId,
          'x-b3-sampled': '0',
        })
      ).echo();
      assert.equal(refused.headers['x-b3-sampled'], '0');
      const single = (await request(run, 'in', '/', { b3: '0' })).echo();
      assert.match(single.headers['b3'] ?? '', /^([0-9a-f]{16})-\1-0$/);
      const forced = (await request(run, 'none', '/', { 'x-client-trace-id': 'me' })).echo();
      assert.equal(forced.headers['x-b3-sampled'], '1');
      assert.match(forced.headers['x-request-id'] ?? '', /^.{14}b/);
      const [only, ...more] = await take();
      assert.equal(more.length, 0);
      assert.equal(only?.path, '/api/v2/spans');
      assert.equal(await run.stat('http.none.tracing.not_traceable'), 1);
      assert.equal(await run.stat('http.none.tracing.client_enabled'), 1);
    },
    'OTLP over HTTP': async (run) => {
      const answer = await request(run, 'otlp', '/a', {
        traceparent: `00-${traceId}-${parentId}-01`,
        tracestate: 'a=b',
      });
      const [sent] = await take();
      assert.equal(sent?.path, '/v1/traces');
      assert.equal(sent.headers['host'], 'collector.example');
      assert.equal(sent.headers['content-type'], 'application/x-protobuf');
      const { resource, items } = readOtlp(sent.body);
      assert.equal(resource['service.name'], 'my-service');
      assert.equal(resource['place'], 'here');
      const [span] = items;
      assert.ok(span !== undefined && items.length === 1);
      const spanId = bytesOf(span, 2).toString('hex');
      const { headers } = answer.echo();
      assert.equal(headers['traceparent'], `00-${traceId}-${spanId}-01`);
      assert.equal(headers['tracestate'], 'a=b');
      assert.equal(bytesOf(span, 1).toString('hex'), traceId);
      assert.equal(textOf(span, 3), 'a=b');
      assert.equal(bytesOf(span, 4).toString('hex'), parentId);
      assert.equal(textOf(span, 5), 'egress shop.example');
      assert.deepEqual(span.get(6), [3]);
      const [start] = span.get(7) as bigint[];
      const [end] = span.get(8) as bigint[];
      assert.ok(start !== undefined && end !== undefined && end > start);
      assert.ok(Math.abs(Number(start / 1_000_000n) - Date.now()) < 60_000);
      assert.deepEqual(span.get(16), [0x301]);
      assert.equal(span.get(15), undefined);
      assert.deepEqual(fixed(attributesOf(span, 9)), { ...common, 'http.url': 'http://shop.example/a' });
    },
    'OTLP over gRPC: a new trace, an error': async (run) => {
      await request(run, 'otlp-grpc', '/', { 'x-want-status': '500' });
      const [sent] = await take();
      assert.equal(sent?.path, '/opentelemetry.proto.collector.trace.v1.TraceService/Export');
      assert.equal(sent.headers['content-type'], 'application/grpc');
      const [span] = readOtlp(sent.body).items;
      assert.ok(span !== undefined);
      assert.equal(bytesOf(span, 4).length, 0);
      assert.equal(textOf(span, 5), 'ingress');
      assert.deepEqual(span.get(6), [2]);
      assert.deepEqual(span.get(16), [0x101]);
      assert.equal(bytesOf(span, 15).toString('hex'), '1802');
      assert.equal(attributesOf(span, 9)['error'], 'true');
    },
    'a traceparent that says no is passed on': async (run) => {
      const { headers } = (
        await request(run, 'otlp', '/', { traceparent: `00-${traceId}-${parentId}-00` })
      ).echo();
      assert.match(headers['traceparent'] ?? '', new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
      const broken = (await request(run, 'otlp', '/', { traceparent: 'nonsense' })).echo();
      assert.equal(broken.headers['traceparent'], 'nonsense');
    },
    counters: async (run) => {
      for (let i = 0; i < 250; i++) {
        if ((await run.stat('tracing.zipkin.reports_sent')) > 0) break;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.ok((await run.stat('tracing.zipkin.spans_sent')) >= 5);
      assert.ok((await run.stat('tracing.zipkin.reports_sent')) >= 5);
      assert.ok((await run.stat('http.in.tracing.random_sampling')) >= 4);
    },
  },
});
