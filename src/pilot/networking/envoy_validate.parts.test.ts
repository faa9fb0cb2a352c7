import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { create, type JsonValue, toJson } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { BootstrapSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { type Cluster, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import type { FilterChain } from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import type { RouteConfiguration } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { HttpConnectionManagerSchema } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { findEnvoy } from '#base/find_envoy.ts';
import { goldenCases, readGoldenCase } from './golden_case.ts';
import { type ProxyResources, proxyResources, unpackConnectionManager } from './resources_of.ts';

const registry = createTypeRegistry();

const envoy = findEnvoy(process.env);
if (envoy === undefined && process.env['CI'] === 'true') throw new Error('no Envoy: set TRYSAIL_ENVOY');

/** Old forms that Istio still writes and every Envoy understands; the new form is a cluster extension. */
const stillUsed: ReadonlySet<string> = new Set([
  'envoy.config.cluster.v3.Cluster.dns_refresh_rate',
  'envoy.config.cluster.v3.Cluster.respect_dns_ttl',
  'envoy.config.cluster.v3.Cluster.dns_lookup_family',
]);

/** Access logs go to /dev/stdout and /dev/stderr: both must be something that can be opened as a file. */
async function validate(file: string, log: string): Promise<{ code: number | null; errors: string }> {
  const output = openSync(log, 'w');
  try {
    const child = spawn(envoy ?? 'envoy', ['--mode', 'validate', '-c', file, '-l', 'warning'], {
      stdio: ['ignore', output, output],
      timeout: 60_000,
    });
    const [code] = (await once(child, 'exit')) as [number | null];
    return { code, errors: readFileSync(log, 'utf8') };
  } finally {
    closeSync(output);
  }
}

function staticCluster(name: string): Cluster {
  return create(ClusterSchema, {
    name,
    clusterDiscoveryType: { case: 'type', value: 0 },
    loadAssignment: {
      clusterName: name,
      endpoints: [
        {
          lbEndpoints: [
            {
              hostIdentifier: {
                case: 'endpoint',
                value: { address: { address: { case: 'pipe', value: { path: '/tmp/none.sock' } } } },
              },
            },
          ],
        },
      ],
    },
  });
}

/** Puts route configurations into the chain: validation asks no server. */
function inlineRoutes(chain: FilterChain, routes: readonly RouteConfiguration[]): void {
  for (const filter of chain.filters) {
    const manager = unpackConnectionManager(filter);
    if (manager?.routeSpecifier.case !== 'rds') continue;
    const name = manager.routeSpecifier.value.routeConfigName;
    const value = routes.find((route) => route.name === name);
    assert.ok(value !== undefined, `no route configuration ${name}`);
    manager.routeSpecifier = { case: 'routeConfig', value };
    filter.configType = { case: 'typedConfig', value: anyPack(HttpConnectionManagerSchema, manager) };
  }
}

function bootstrap(node: Node, resources: ProxyResources): JsonValue {
  const listeners: Listener[] = resources.listeners.map((listener) => structuredClone(listener));
  for (const listener of listeners) {
    for (const chain of listener.filterChains) inlineRoutes(chain, resources.routes);
    if (listener.defaultFilterChain !== undefined)
      inlineRoutes(listener.defaultFilterChain, resources.routes);
  }
  const message = create(BootstrapSchema, {
    node,
    staticResources: {
      clusters: [staticCluster('sds-grpc'), staticCluster('xds-grpc'), ...resources.clusters],
    },
    dynamicResources: {
      adsConfig: {
        apiType: 2,
        transportApiVersion: 2,
        grpcServices: [{ targetSpecifier: { case: 'envoyGrpc', value: { clusterName: 'xds-grpc' } } }],
      },
    },
  });
  const json = toJson(BootstrapSchema, message, { registry }) as Record<string, Record<string, JsonValue>>;
  json['staticResources'] = {
    ...json['staticResources'],
    listeners: listeners.map((listener) => toJson(ListenerSchema, listener, { registry })),
  };
  return json;
}

describe(
  'Envoy takes what we generate',
  { skip: envoy === undefined && 'no Envoy: set TRYSAIL_ENVOY' },
  () => {
    for (const golden of goldenCases) {
      test(golden.name, async () => {
        const { proxy, push } = readGoldenCase(golden);
        const folder = mkdtempSync(join(tmpdir(), 'trysail-validate-'));
        try {
          const file = join(folder, 'bootstrap.json');
          writeFileSync(file, JSON.stringify(bootstrap(golden.node, proxyResources(proxy, push))));
          const { code, errors } = await validate(file, join(folder, 'log'));
          assert.equal(code, 0, errors);
          const deprecated = [...errors.matchAll(/deprecated option '([^']+)'/g)].map(
            (match) => match[1] ?? '',
          );
          assert.deepEqual(
            deprecated.filter((option) => !stillUsed.has(option)),
            [],
          );
        } finally {
          rmSync(folder, { recursive: true });
        }
      });
    }
  },
);
