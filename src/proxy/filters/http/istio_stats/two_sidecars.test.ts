import assert from 'node:assert/strict';
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { after, test } from 'node:test';
import { create, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { toPrometheusText } from '#telemetry/prometheus_text.ts';
import { listen, startProxy, type TestProxy } from '../../network/http_connection_manager/testing.ts';
import { grpcStats } from '../grpc_stats/config.ts';
import { peerMetadata } from '../peer_metadata/config.ts';
import { httpRbac } from '../rbac/config.ts';
import { httpIstioStats } from './config.ts';

/** The extension as another workload's listener would make it. */
function asWorkload(
  extension: HttpFilterExtension,
  direction: 'inbound' | 'outbound',
  metadata: JsonObject,
): HttpFilterExtension {
  const node = create(NodeSchema, { id: String(metadata['NAME']), metadata });
  return {
    ...extension,
    create: (config, context, name) => extension.create(config, { ...context, node, direction }, name),
  };
}

function typedStruct(name: string, typeUrl: string, value: JsonValue): JsonValue {
  return {
    name,
    typed_config: { '@type': 'type.googleapis.com/xds.type.v3.TypedStruct', type_url: typeUrl, value },
  };
}

const router: JsonValue = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
};
const messageCounts: JsonValue = {
  name: 'envoy.filters.http.grpc_stats',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig',
    emit_filter_state: true,
  },
};
const denyAdmin: JsonValue = {
  name: 'envoy.filters.http.rbac',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
    rules: {
      action: 'DENY',
      policies: {
        'ns[default]-policy[no admin]-rule[0]': {
          permissions: [{ url_path: { path: { prefix: '/admin' } } }],
          principals: [{ any: true }],
        },
      },
    },
  },
};
const headers = [{ istio_headers: {} }];
const statsType = 'type.googleapis.com/stats.PluginConfig';
const peerType = 'type.googleapis.com/io.istio.http.peer_metadata.Config';
const cluster = {
  metadata: {
    filter_metadata: {
      istio: {
        services: [{ host: 'httpbin.default.svc.cluster.local', name: 'httpbin', namespace: 'default' }],
      },
    },
  },
};

const seen: IncomingHttpHeaders[] = [];
const app = createServer((request, response) => {
  seen.push(request.headers);
  request.resume();
  if (request.headers['content-type'] === 'application/grpc') {
    // HTTP/1.1 proxies drop trailers unless told otherwise, so the status stands in the headers here.
    response.writeHead(200, { 'content-type': 'application/grpc', 'grpc-status': '0' });
    response.end(Buffer.from([0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0]));
    return;
  }
  response.end('hello');
});
const proxies: TestProxy[] = [];
after(() => {
  for (const proxy of proxies) proxy.close();
  app.close();
  app.closeAllConnections();
});

async function sidecars(): Promise<{ server: TestProxy; client: TestProxy }> {
  const appPort = await listen(app);
  const httpbin = { NAME: 'httpbin-1', NAMESPACE: 'default', WORKLOAD_NAME: 'httpbin', CLUSTER_ID: 'c1' };
  const sleep = { NAME: 'sleep-1', NAMESPACE: 'tools', WORKLOAD_NAME: 'sleep', CLUSTER_ID: 'c1' };
  const server = await startProxy({
    clusters: { a: [appPort] },
    clusterOptions: { a: cluster },
    filters: [
      asWorkload(peerMetadata, 'inbound', httpbin),
      asWorkload(httpIstioStats, 'inbound', httpbin),
      httpRbac,
      grpcStats,
    ],
    hcm: {
      http_filters: [
        typedStruct('istio.metadata_exchange', peerType, {
          downstream_discovery: headers,
          downstream_propagation: headers,
        }),
        denyAdmin,
        messageCounts,
        typedStruct('istio.stats', statsType, { disable_host_header_fallback: true }),
        router,
      ],
    },
  });
  const client = await startProxy({
    clusters: { a: [server.port] },
    clusterOptions: { a: cluster },
    filters: [
      asWorkload(peerMetadata, 'outbound', sleep),
      asWorkload(httpIstioStats, 'outbound', sleep),
      grpcStats,
    ],
    hcm: {
      http_filters: [
        typedStruct('istio.metadata_exchange', peerType, {
          upstream_discovery: headers,
          upstream_propagation: headers,
        }),
        messageCounts,
        typedStruct('istio.stats', statsType, {}),
        router,
      ],
    },
  });
  proxies.push(server, client);
  return { server, client };
}

function call(port: number, path: string, type?: string) {
  return new Promise<{ status: number; headers: IncomingHttpHeaders; body: string }>((resolve, reject) => {
    const request = httpRequest(
      { port, path, method: 'POST', headers: type === undefined ? {} : { 'content-type': type } },
      (response) => {
        let body = '';
        response.on('data', (chunk) => (body += String(chunk)));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      },
    );
    request.on('error', reject);
    request.end(type === undefined ? '' : Buffer.from([0, 0, 0, 0, 2, 1, 2]));
  });
}

/** Lines of a metric without the labels that are the same in all of them. */
function lines(proxy: TestProxy, metric: string): string[] {
  const wanted = [
    'reporter',
    'source_workload',
    'source_workload_namespace',
    'destination_workload',
    'destination_service',
    'request_protocol',
    'response_code',
    'grpc_response_status',
    'response_flags',
    'connection_security_policy',
  ];
  return toPrometheusText(proxy.metrics.snapshot())
    .split('\n')
    .filter((line) => line.startsWith(`${metric}{`))
    .map((line) => {
      const labels = new Map([...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
      return `${wanted.map((name) => labels.get(name)).join(' ')} = ${line.slice(line.lastIndexOf(' ') + 1)}`;
    })
    .toSorted();
}

test('both sides of a call name each other, denials and gRPC included', async () => {
  const { server, client } = await sidecars();
  for (let i = 0; i < 3; i++) {
    const { status, body, headers: answer } = await call(client.port, '/get');
    assert.deepEqual([status, body], [200, 'hello']);
    assert.equal('x-envoy-peer-metadata' in answer || 'x-envoy-peer-metadata-id' in answer, false);
  }
  const denied = await call(client.port, '/admin/x');
  assert.deepEqual([denied.status, denied.body], [403, 'RBAC: access denied']);
  const grpc = await call(client.port, '/pkg.Service/Method', 'application/grpc');
  assert.equal(grpc.status, 200);
  for (const got of seen)
    assert.deepEqual(
      Object.keys(got).filter((name) => name.includes('peer')),
      [],
    );

  const host = 'httpbin.default.svc.cluster.local';
  assert.deepEqual(lines(server, 'istio_requests_total'), [
    `destination sleep tools httpbin ${host} grpc 200 0 - none = 1`,
    `destination sleep tools httpbin ${host} http 200  - none = 3`,
    `destination sleep tools httpbin ${host} http 403  - none = 1`,
  ]);
  assert.deepEqual(lines(client, 'istio_requests_total'), [
    `source sleep tools httpbin ${host} grpc 200 0 - unknown = 1`,
    `source sleep tools httpbin ${host} http 200  - unknown = 3`,
    `source sleep tools httpbin ${host} http 403  - unknown = 1`,
  ]);
  for (const proxy of [server, client]) {
    const [requests] = lines(proxy, 'istio_request_messages_total');
    const [responses] = lines(proxy, 'istio_response_messages_total');
    assert.match(requests ?? '', / = 1$/);
    assert.match(responses ?? '', / = 2$/);
    assert.equal(lines(proxy, 'istio_request_duration_milliseconds_count').length, 3);
  }
});
