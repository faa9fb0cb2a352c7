import assert from 'node:assert/strict';
import { setImmediate as settle } from 'node:timers/promises';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { silentLogger } from '#base/log.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { FactoryContext } from '../../../factory_context.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { NetworkFilterStatus, type ReadFilterCallbacks } from '../../../network/filter.ts';
import { setConnectionStream } from '../../../stream_info/connection_stream.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import { newUpstreamInfo, StreamInfo } from '../../../stream_info/stream_info.ts';
import { StatsShared } from '../../istio_stats/stats_shared.ts';
import { networkIstioStats } from './config.ts';
import { TcpStatsFilter } from './istio_stats.ts';

function bed() {
  const metrics = new MetricsRegistry();
  const context = {
    node: create(NodeSchema, { id: 'me', metadata: { WORKLOAD_NAME: 'tcp-client', NAMESPACE: 'default' } }),
    metrics,
    direction: 'outbound',
    log: silentLogger,
  } as unknown as FactoryContext;
  const info = new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 9000 }, { ip: '10.0.0.2', port: 1 });
  const value = (name: string): number | undefined =>
    metrics.snapshot().find((family) => family.name === name)?.series[0]?.value;
  const labels = (name: string) =>
    metrics
      .snapshot()
      .find((family) => family.name === name)
      ?.series.map((series) => series.labels) ?? [];
  const callbacks = { connection: { info } } as unknown as ReadFilterCallbacks;
  return { context, info, value, labels, callbacks };
}

function record(info: AcceptedConnectionInfo): StreamInfo {
  const stream = new StreamInfo(info, '');
  stream.clusterName = 'outbound|9000||tcp-echo.default.svc.cluster.local';
  stream.clusterMetadata = {
    istio: {
      services: [{ host: 'tcp-echo.default.svc.cluster.local', name: 'tcp-echo', namespace: 'default' }],
    },
  };
  stream.upstream = newUpstreamInfo();
  stream.upstream.hostMetadata = {
    istio: { workload: 'tcp-echo-v1;default;tcp-echo;v1;Kubernetes' },
  };
  return stream;
}

test('an open connection is counted while it lasts, and at its end', async () => {
  const { context, info, value, labels, callbacks } = bed();
  const shared = new StatsShared({ typeUrl: '', value: new Uint8Array(), struct: {} }, context);
  const filter = new TcpStatsFilter(shared);
  assert.equal(filter.onNewConnection(callbacks), NetworkFilterStatus.continue);
  filter.tick();
  assert.equal(value('istio_tcp_connections_opened_total'), undefined);
  const stream = record(info);
  setConnectionStream(info, stream);
  stream.bytesReceived = 10;
  stream.bytesSent = 100;
  filter.tick();
  filter.tick();
  assert.equal(value('istio_tcp_connections_opened_total'), 1);
  assert.equal(value('istio_tcp_received_bytes_total'), 10);
  assert.equal(value('istio_tcp_connections_closed_total'), 0);
  stream.bytesReceived = 15;
  filter.onClose();
  // tcp_proxy completes its record in the same turn.
  stream.bytesSent = 150;
  await settle();
  assert.equal(value('istio_tcp_connections_opened_total'), 1);
  assert.equal(value('istio_tcp_connections_closed_total'), 1);
  assert.equal(value('istio_tcp_received_bytes_total'), 15);
  assert.equal(value('istio_tcp_sent_bytes_total'), 150);
  const [only = {}] = labels('istio_tcp_sent_bytes_total');
  assert.deepEqual(Object.keys(only).slice(-3), [
    'request_protocol',
    'response_flags',
    'connection_security_policy',
  ]);
  assert.deepEqual(
    [only['request_protocol'], only['destination_workload'], only['destination_service_name']],
    ['tcp', 'tcp-echo-v1', 'tcp-echo'],
  );
  assert.equal('response_code' in only, false);
});

test('a connection that found no server has its flags', async () => {
  const { context, info, labels, callbacks } = bed();
  const factory = networkIstioStats.create({ typeUrl: '', value: new Uint8Array(), struct: {} }, context);
  assert.ok(!factory.terminal);
  const filter = factory.create();
  filter.onNewConnection(callbacks);
  const stream = record(info);
  stream.upstream = undefined;
  setConnectionStream(info, stream);
  filter.onClose?.();
  stream.responseFlags = ResponseFlag.noHealthyUpstream;
  await settle();
  const [only = {}] = labels('istio_tcp_connections_closed_total');
  assert.deepEqual([only['response_flags'], only['destination_workload']], ['UH', 'unknown']);
});
