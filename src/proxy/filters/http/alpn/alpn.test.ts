import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#base/log.ts';
import type { FactoryContext } from '../../../factory_context.ts';
import type { FilterCallbacks } from '../../../http/filter.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { transportOptionsKey, type UpstreamTransportOptions } from '../../../network/transport_socket.ts';
import { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { Cluster } from '../../../upstream/upstream.ts';
import { alpn } from './config.ts';

const address = { ip: '127.0.0.1', port: 1 };

/** ALPN that a request to this cluster asks for. */
function offered(cluster: Partial<Cluster> | undefined): UpstreamTransportOptions | undefined {
  const context = {
    clusterManager: { get: (name: string) => (name === 'c' ? cluster : undefined) },
    log: silentLogger,
  } as unknown as FactoryContext;
  const factory = alpn.create(
    {
      typeUrl: '',
      value: new Uint8Array(),
      struct: {
        alpn_override: [
          { upstream_protocol: 'HTTP11', alpn_override: ['istio-http/1.1', 'istio', 'http/1.1'] },
          { upstream_protocol: 'HTTP2', alpn_override: ['istio-h2', 'istio', 'h2'] },
        ],
      },
    },
    context,
  );
  const streamInfo = new StreamInfo(new AcceptedConnectionInfo(address, address), 'HTTP/1.1');
  const callbacks = { streamInfo, route: () => ({ clusterName: 'c' }) } as unknown as FilterCallbacks;
  factory.createFilter(callbacks).decodeHeaders();
  return streamInfo.filterState?.get(transportOptionsKey) as UpstreamTransportOptions | undefined;
}

test('the ALPN follows the HTTP version of the upstream', () => {
  assert.deepEqual(offered({ upstreamProtocol: () => 'HTTP/1.1' })?.applicationProtocols, [
    'istio-http/1.1',
    'istio',
    'http/1.1',
  ]);
  assert.equal(offered({ upstreamProtocol: () => 'HTTP/2' })?.applicationProtocols?.[0], 'istio-h2');
});

test('clusters outside the mesh and unknown clusters keep theirs', () => {
  assert.equal(
    offered({ upstreamProtocol: () => 'HTTP/1.1', metadata: { istio: { alpn_override: 'false' } } }),
    undefined,
  );
  assert.equal(offered(undefined), undefined);
});
