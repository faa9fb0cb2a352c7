/** Entries of access logs at services: who sends them, what they say, and the counters of it. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { fromBinary } from '@bufbuild/protobuf';
import { StreamAccessLogsMessageSchema } from '../../src/api/gen/envoy/service/accesslog/v3/als_pb.ts';
import {
  type Export,
  Collector,
  attributesOf,
  bytesOf,
  readFields,
  readOtlp,
  textOf,
} from '../harness/otlp_collector.ts';
import { type Run, conformance } from '../harness/conformance.ts';
import { send } from '../harness/http_request.ts';

let collector: Collector | undefined;

async function one(): Promise<Export> {
  assert.ok(collector !== undefined);
  const [sent] = await collector.take(1);
  assert.ok(sent !== undefined);
  return sent;
}

/** Waits until a counter has a value. */
async function reaches(run: Run, name: string, value: number): Promise<void> {
  for (let i = 0; (await run.stat(name)) < value; i++) {
    assert.ok(i < 250, `${name} stays at ${await run.stat(name)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(await run.stat(name), value);
}

const alsPath = '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs';

conformance(import.meta.filename, {
  rows: ['8.3'],
  async setUp() {
    collector = await Collector.start();
    return { collector: String(collector.httpPort), grpc: String(collector.grpcPort) };
  },
  tearDown: () => collector?.stop(),
  cases: {
    'OpenTelemetry: resource, body, attributes': async (run) => {
      await run.get('/a?b=\u00e9'.replace('\u00e9', '%C3%A9'), { method: 'POST', body: 'x' });
      const sent = await one();
      assert.equal(sent.path, '/v1/logs');
      assert.equal(sent.headers['host'], 'logs.example');
      const { resource, items } = readOtlp(sent.body);
      assert.deepEqual(resource, {
        log_name: 'my-log',
        zone_name: 'z1',
        cluster_name: 'svc1',
        node_name: 'node1',
        place: 'here',
      });
      const [record] = items;
      assert.ok(record !== undefined && items.length === 1);
      const [time] = record.get(1) as bigint[];
      assert.ok(time !== undefined && Math.abs(Number(time / 1_000_000n) - Date.now()) < 60_000);
      assert.equal(textOf(readFields(bytesOf(record, 5)), 1), 'POST 200');
      const { path, absent } = attributesOf(record, 6);
      assert.deepEqual([path, absent], ['path /a?b=%C3%A9', '-']);
      const nested = readFields((record.get(6) as Buffer[])[2] as Buffer);
      assert.equal(textOf(nested, 1), 'nested');
      assert.deepEqual(attributesOf(readFields(bytesOf(readFields(bytesOf(nested, 2)), 6)), 1), {
        flags: '-',
      });
      await reaches(run, 'access_logs.open_telemetry_access_log.logs_written', 1);
    },
    'log service: a request': async (run) => {
      await send(run.port('als'), '/a', {
        method: 'POST',
        body: 'hello',
        headers: {
          host: 'shop.example',
          'user-agent': 'test',
          referer: 'r',
          'x-one': '1',
          'x-want-header': 'x-two: 2',
        },
      });
      const sent = await one();
      assert.equal(sent.path, alsPath);
      const { identifier, logEntries } = fromBinary(StreamAccessLogsMessageSchema, sent.body);
      assert.equal(identifier?.logName, 'my-als');
      assert.equal(identifier.node?.id, 'node1');
      assert.ok(logEntries.case === 'httpLogs');
      const [entry, ...more] = logEntries.value.logEntry;
      assert.ok(entry !== undefined && more.length === 0);
      const { request, response, commonProperties: common } = entry;
      assert.ok(request !== undefined && response !== undefined && common !== undefined);
      assert.equal(entry.protocolVersion, 2);
      assert.deepEqual(
        [request.requestMethod, request.scheme, request.authority, request.path, request.userAgent],
        [3, 'http', 'shop.example', '/a', 'test'],
      );
      assert.deepEqual([request.referer, request.requestBodyBytes], ['r', 5n]);
      assert.match(request.requestId, /^[0-9a-f-]{36}$/);
      assert.deepEqual(request.requestHeaders, { 'x-one': '1' });
      assert.deepEqual([response.responseCode, response.responseCodeDetails], [200, 'via_upstream']);
      assert.deepEqual(response.responseHeaders, { 'x-two': '2' });
      assert.ok(response.responseBodyBytes > 0n);
      const { downstreamLocalAddress: local, upstreamRemoteAddress: remote } = common;
      assert.ok(local?.address.case === 'socketAddress' && remote?.address.case === 'socketAddress');
      assert.deepEqual(local.address.value.portSpecifier.value, run.port('als'));
      assert.deepEqual(remote.address.value.portSpecifier.value, run.backend('app').port);
      assert.deepEqual(
        [common.upstreamCluster, common.routeName, common.upstreamRequestAttemptCount],
        ['app', 'my-route', 1],
      );
      assert.equal(common.accessLogType, 6);
      assert.equal(common.streamId, request.requestId);
      assert.equal(common.responseFlags, undefined);
      for (const span of [
        common.startTime,
        common.duration,
        common.timeToLastRxByte,
        common.timeToFirstUpstreamTxByte,
        common.timeToLastUpstreamTxByte,
        common.timeToFirstUpstreamRxByte,
        common.timeToLastUpstreamRxByte,
        common.timeToFirstDownstreamTxByte,
        common.timeToLastDownstreamTxByte,
      ])
        assert.ok(span !== undefined);
    },
    'log service: flags of a failure': async (run) => {
      await send(run.port('als'), '/none');
      const { logEntries } = fromBinary(StreamAccessLogsMessageSchema, (await one()).body);
      assert.ok(logEntries.case === 'httpLogs');
      const [entry] = logEntries.value.logEntry;
      assert.equal(entry?.response?.responseCode, 503);
      assert.equal(entry.response.responseCodeDetails, 'no_healthy_upstream');
      assert.equal(entry.commonProperties?.responseFlags?.noHealthyUpstream, true);
      assert.equal(entry.commonProperties.responseFlags.upstreamOverflow, false);
      await reaches(run, 'access_logs.grpc_access_log.logs_written', 2);
      assert.equal(await run.stat('access_logs.grpc_access_log.logs_dropped'), 0);
    },
    'log service: a connection': async (run) => {
      const bytes = await new Promise<number>((resolve, reject) => {
        const socket = connect(run.port('tcp'), '127.0.0.1');
        let got = 0;
        socket.on('data', (data) => (got += data.length));
        socket.on('error', reject);
        socket.on('close', () => resolve(got));
        socket.end('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      });
      const { identifier, logEntries } = fromBinary(StreamAccessLogsMessageSchema, (await one()).body);
      assert.equal(identifier?.logName, 'my-tcp');
      assert.ok(logEntries.case === 'tcpLogs');
      const [entry] = logEntries.value.logEntry;
      assert.equal(entry?.connectionProperties?.receivedBytes, 46n);
      assert.equal(entry.connectionProperties.sentBytes, BigInt(bytes));
      assert.equal(entry.commonProperties?.upstreamCluster, 'app');
      assert.equal(entry.commonProperties.accessLogType, 3);
    },
  },
});
