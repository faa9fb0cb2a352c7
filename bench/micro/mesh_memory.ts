/**
 * Memory that a mesh costs a proxy: resident MiB of ours and of Envoy before and after a control plane delivers clusters,
 * endpoints and one route configuration of many services over delta ADS, and again after all endpoints changed.
 *
 *   node bench/micro/mesh_memory.ts [--services 1000] [--endpoints 10] [--rounds 1]
 */
import { parseArgs } from 'node:util';
import type { JsonValue } from '@bufbuild/protobuf';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TestControlPlane, edsCluster, freePort, httpListener } from '../../src/proxy/server/testing.ts';
import { registerAds } from '../../src/xds/server/discovery_services.ts';
import { GrpcServer } from '../../src/xds/server/grpc_server.ts';
import { typeUrls } from '../../src/xds/type_url.ts';
import { DataPlaneProcess, adminYaml, until } from '../../test/fault/data_plane.ts';
import { envoyPath } from '../../test/harness/optional_parts.ts';

const { values: flags } = parseArgs({
  options: {
    services: { type: 'string', default: '1000' },
    endpoints: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '1' },
  },
});
const services = Number(flags.services);
const endpoints = Number(flags.endpoints);
const directory = mkdtempSync(join(tmpdir(), 'trysail-memory-'));

function bootstrap(path: string): string {
  return `${adminYaml}
node: { id: memory, cluster: memory }
dynamic_resources:
  ads_config: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{ envoy_grpc: { cluster_name: xds } }] }
  cds_config: { ads: {}, resource_api_version: V3 }
  lds_config: { ads: {}, resource_api_version: V3 }
static_resources:
  clusters:
    - name: xds
      type: STATIC
      http2_protocol_options: {}
      load_assignment: { cluster_name: xds, endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: '${path}' } } } }] }] }
`;
}

function name(i: number): string {
  return `outbound|80||service-${i}.default.svc.cluster.local`;
}

/** As a control plane sends it: a locality, weights, the metadata of a workload. */
function assignment(i: number, version: number): JsonValue {
  const address = (j: number): string =>
    `10.${version}.${(i * endpoints + j) >> 8}.${(i * endpoints + j) & 255}`;
  return {
    cluster_name: name(i),
    // At the end of the bytes, which the test's control plane takes versions from.
    policy: { overprovisioning_factor: 140 + version },
    endpoints: [
      {
        locality: { region: 'r1', zone: 'z1' },
        load_balancing_weight: endpoints,
        lb_endpoints: Array.from({ length: endpoints }, (_, j) => ({
          endpoint: { address: { socket_address: { address: address(j), port_value: 8080 } } },
          load_balancing_weight: 1,
          metadata: {
            filter_metadata: {
              istio: { workload: `service-${i};default;service-${i};v1;Kubernetes` },
              'envoy.transport_socket_match': { tlsMode: 'istio' },
            },
          },
        })),
      },
    ],
  };
}

function routes(count: number): JsonValue {
  const hosts = Array.from({ length: count }, (_, i) => ({
    name: `service-${i}`,
    domains: [`service-${i}`, `service-${i}.default`, `service-${i}.default.svc.cluster.local`],
    routes: [
      {
        match: { prefix: '/' },
        route: {
          cluster: name(i),
          timeout: '0s',
          retry_policy: { retry_on: 'connect-failure', num_retries: 2 },
        },
      },
    ],
  }));
  const all = {
    name: 'all',
    domains: ['*'],
    routes: [{ match: { prefix: '/' }, direct_response: { status: 404 } }],
  };
  return { name: 'routes', virtual_hosts: [...hosts, all] };
}

async function measure(kind: 'trysail' | 'envoy', round: number): Promise<Record<string, number>> {
  const control = new TestControlPlane();
  const port = await freePort();
  const path = join(directory, `xds-${kind}-${round}`);
  control.set(typeUrls.lds, 'in', httpListener('in', port, 'routes')).set(typeUrls.rds, 'routes', routes(0));
  await control.push();
  const server = new GrpcServer({ routes: (router) => registerAds(router, control.server) });
  await server.listen({ path });
  const plane = await DataPlaneProcess.start(kind, { yaml: bootstrap(path) });
  const set = (version: number): void => {
    for (let i = 0; i < services; i++) control.set(typeUrls.eds, name(i), assignment(i, version));
  };
  const hosts = async (prefix: string): Promise<boolean> => {
    const { body } = await plane.admin('/clusters');
    return (
      body.split(`::${prefix}`).length > services * endpoints && body.includes(`${name(services - 1)}::`)
    );
  };
  try {
    await sleep(5_000);
    const before = plane.rss();
    for (let i = 0; i < services; i++)
      control.set(
        typeUrls.cds,
        name(i),
        edsCluster(name(i), { circuit_breakers: { thresholds: [{ max_retries: 4294967295 }] } }),
      );
    set(1);
    control.set(typeUrls.rds, 'routes', routes(services));
    await control.push();
    // Looking costs memory itself: not before it is likely to be there.
    await sleep(10_000);
    const after = plane.rss();
    await until(() => hosts('10.1.'), `${kind} has all hosts`, 60_000);
    set(2);
    await control.push();
    await sleep(10_000);
    const changed = plane.rss();
    await until(() => hosts('10.2.'), `${kind} has all other hosts`, 60_000);
    return { before, after, growth: after - before, 'after a change and /clusters': changed };
  } finally {
    await plane.stop();
    await server.close();
  }
}

try {
  const rows = [];
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const kind of ['trysail', 'envoy'] as const)
      if (kind === 'trysail' || envoyPath() !== undefined)
        rows.push({
          kind,
          ...Object.fromEntries(
            Object.entries(await measure(kind, round)).map(([key, mib]) => [key, mib.toFixed(1)]),
          ),
        });
  console.table(rows);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
