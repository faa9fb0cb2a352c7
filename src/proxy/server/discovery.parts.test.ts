import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import { registerAds, registerSds } from '#xds/server/discovery_services.ts';
import { GrpcServer } from '#xds/server/grpc_server.ts';
import { typeUrls } from '#xds/type_url.ts';
import type { XdsProtocol } from '#xds/transport.ts';
import { startProxy } from './main.ts';
import type { ProxyHandle } from './proxy_handle.ts';
import {
  KeepAliveClient,
  LogLines,
  TestControlPlane,
  adsBootstrap,
  assignment,
  bootstrapOf,
  edsCluster,
  freePort,
  get,
  httpListener,
  routesTo,
  serve,
  startApplication,
  startOn,
  until,
} from './testing.ts';

const one = await startApplication('one');
const two = await startApplication('two');
after(() => {
  one.server.close();
  one.server.closeAllConnections();
  two.server.close();
  two.server.closeAllConnections();
});

for (const protocol of ['sotw', 'delta'] satisfies XdsProtocol[]) {
  test(`${protocol}: a proxy gets all it serves from its control plane`, async () => {
    const plane = new TestControlPlane();
    const port = await freePort();
    await serve(plane, port, 'app', one.port).push();
    const { proxy } = await startOn(plane, protocol);
    try {
      await until(() => proxy.ready(), `ready: ${proxy.readyReason()}`);
      assert.equal(await get(port), '200 one');
      // Endpoints move: connections of hosts that are gone end, the next request goes to the new one.
      await plane.set(typeUrls.eds, 'app', assignment('app', two.port)).push();
      await until(async () => (await get(port)) === '200 two', 'the new endpoint');
      // A listener goes, another comes.
      const other = await freePort();
      plane.remove(typeUrls.lds, 'in').set(typeUrls.lds, 'other', httpListener('other', other, 'routes'));
      await plane.push();
      await until(
        () =>
          get(other).then(
            (text) => text === '200 two',
            () => false,
          ),
        'the new listener',
      );
      await assert.rejects(once(connect(port, '127.0.0.1'), 'connect'));
      assert.deepEqual(plane.nacks, []);
    } finally {
      await proxy.close();
    }
  });

  test(`${protocol}: a bad resource is refused by name, the rest of the push applies`, async () => {
    const plane = new TestControlPlane();
    const port = await freePort();
    await serve(plane, port, 'app', one.port).push();
    const { proxy, log } = await startOn(plane, protocol);
    try {
      await until(() => proxy.ready(), 'ready');
      const bad = httpListener('in', port, 'routes', {
        hcm: {
          http_filters: [
            {
              name: 'mystery',
              typed_config: {
                '@type': 'type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm',
              },
            },
          ],
        },
      });
      const second = await freePort();
      plane
        .set(typeUrls.lds, 'in', bad)
        .set(typeUrls.lds, 'second', httpListener('second', second, 'routes2'))
        .set(typeUrls.rds, 'routes2', routesTo('routes2', 'app2'))
        .set(typeUrls.cds, 'app2', edsCluster('app2'))
        .set(typeUrls.eds, 'app2', assignment('app2', two.port))
        .set(typeUrls.cds, 'broken', { name: 'broken', type: 'EDS' });
      await plane.push();
      await until(
        () =>
          get(second).then(
            (text) => text === '200 two',
            () => false,
          ),
        'the good listener',
      );
      assert.equal(await get(port), '200 one', 'the old version of the bad listener stays');
      assert.equal(plane.nacks.length, 2, plane.nacks.join('\n'));
      assert.match(plane.nacks.join('\n'), /^broken: eds_cluster_config.eds_config is not set$/m);
      assert.match(plane.nacks.join('\n'), /^in: .*mystery.*Wasm/m);
      assert.ok(log.lines.some((line) => line.includes('refused') && line.includes('name=in')));
      // The author mends it.
      await plane.set(typeUrls.lds, 'in', httpListener('in', port, 'routes2')).push();
      await until(async () => (await get(port)) === '200 two', 'the mended listener');
    } finally {
      await proxy.close();
    }
  });

  test(`${protocol}: routes change under load without a failed request or a closed connection`, async () => {
    const plane = new TestControlPlane();
    const port = await freePort();
    serve(plane, port, 'app', one.port)
      .set(typeUrls.cds, 'app2', edsCluster('app2'))
      .set(typeUrls.eds, 'app2', assignment('app2', two.port));
    await plane.push();
    const { proxy } = await startOn(plane, protocol, { inline: false });
    try {
      await until(() => proxy.ready(), 'ready');
      const clients = Array.from({ length: 8 }, () => new KeepAliveClient(port));
      for (let i = 0; i < 20; i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        plane.set(typeUrls.rds, 'routes', routesTo('routes', i % 2 === 0 ? 'app2' : 'app'));
        // The listener changes too: its connections stay and see the new filters.
        plane.set(typeUrls.lds, 'in', httpListener('in', port, 'routes', { hcm: { server_name: `s${i}` } }));
        await plane.push();
      }
      await Promise.all(clients.map((client) => client.stop()));
      const answers = new Set(clients.flatMap((client) => [...client.answers.keys()]));
      assert.deepEqual([...answers].sort(), ['200 one', '200 two']);
      assert.ok(clients.every((client) => !client.closed));
      assert.deepEqual(plane.nacks, []);
    } finally {
      await proxy.close();
    }
  });
}

test('a listener waits for its routes, a cluster for its endpoints, and the reason is told', async () => {
  const plane = new TestControlPlane();
  const port = await freePort();
  await plane
    .set(typeUrls.cds, 'app', edsCluster('app'))
    .set(typeUrls.lds, 'in', httpListener('in', port, 'routes'))
    .push();
  const { proxy } = await startOn(plane, 'delta');
  try {
    await until(() => proxy.readyReason().includes('wait for endpoints'), 'the reason');
    assert.match(proxy.readyReason(), /1 clusters wait for endpoints or secrets: app/);
    await plane.set(typeUrls.eds, 'app', assignment('app', one.port)).push();
    await until(() => proxy.readyReason().includes('wait for routes'), 'the next reason');
    await assert.rejects(get(port));
    await plane.set(typeUrls.rds, 'routes', routesTo('routes', 'app')).push();
    await until(() => proxy.ready(), 'ready');
    assert.equal(await get(port), '200 one');
  } finally {
    await proxy.close();
  }
});

test('discovery over gRPC: ADS and SDS from static clusters on Unix sockets', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-xds-'));
  const plane = new TestControlPlane();
  const port = await freePort();
  serve(plane, port, 'app', one.port);
  const source = {
    api_config_source: {
      api_type: 'GRPC',
      transport_api_version: 'V3',
      grpc_services: [{ envoy_grpc: { cluster_name: 'sds-grpc' } }],
    },
    resource_api_version: 'V3',
  };
  const listener = httpListener('in', port, 'routes') as { filter_chains: Record<string, JsonValue>[] };
  listener.filter_chains[0]!['transport_socket'] = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      common_tls_context: {
        tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: source }],
      },
    },
  };
  plane.set(typeUrls.lds, 'in', listener as unknown as JsonValue);
  plane.set(typeUrls.sds, 'default', {
    name: 'default',
    generic_secret: { secret: { inline_string: 'x' } },
  });
  await plane.push();
  const xds = new GrpcServer({ routes: (router) => registerAds(router, plane.server) });
  const sds = new GrpcServer({ routes: (router) => registerSds(router, plane.server) });
  const paths = { xds: join(directory, 'XDS'), sds: join(directory, 'socket') };
  await xds.listen({ path: paths.xds });
  await sds.listen({ path: paths.sds });
  const cluster = (name: string, path: string): JsonValue => ({
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
  });
  const bootstrap = adsBootstrap('delta');
  bootstrap.staticResources = bootstrapOf({
    static_resources: { clusters: [cluster('xds-grpc', paths.xds), cluster('sds-grpc', paths.sds)] },
  }).staticResources!;
  let proxy: ProxyHandle | undefined;
  try {
    const started = await startProxy({
      bootstrap,
      concurrency: 1,
      inline: true,
      log: new LogLines().logger,
    });
    proxy = started;
    // A secret of the wrong kind came, so the subscription works; TLS material stays missing.
    await until(() => [...plane.server.clients].length === 2, 'two streams');
    await until(() => started.readyReason().includes('in'), 'a listener that waits');
    plane.set(typeUrls.lds, 'in', httpListener('in', port, 'routes'));
    await plane.push();
    await until(() => started.ready(), 'ready');
    assert.equal(await get(port), '200 one');
  } finally {
    await proxy?.close();
    await xds.close();
    await sds.close();
    rmSync(directory, { recursive: true });
  }
});
