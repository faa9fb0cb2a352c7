import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { type DescMessage, type JsonValue, type Message, toJson } from '@bufbuild/protobuf';
import { ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { ClusterLoadAssignmentSchema } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { RouteConfigurationSchema } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { NameTableSchema } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { goldenCases, readGoldenCase } from './golden_case.ts';
import { buildNameTable } from './name_table.ts';
import { proxyResources } from './resources_of.ts';

// UPDATE_GOLDEN=1 writes the files anew; run the formatter and look at the difference before committing it.
const update = process.env['UPDATE_GOLDEN'] === '1';
const registry = createTypeRegistry();
const folder = join(import.meta.dirname, 'testdata/golden');

function list(schema: DescMessage, messages: readonly Message[]): JsonValue {
  return messages.map((message) => toJson(schema, message, { registry }));
}

function compare(file: string, actual: JsonValue): void {
  const path = join(folder, file);
  const text = `${JSON.stringify(actual, null, 2)}\n`;
  if (update) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  assert.ok(existsSync(path), `${file} is missing: run with UPDATE_GOLDEN=1`);
  assert.deepEqual(actual, JSON.parse(readFileSync(path, 'utf8')));
}

describe('resources of a proxy', () => {
  for (const golden of goldenCases) {
    test(golden.name, () => {
      const { proxy, push } = readGoldenCase(golden);
      const resources = proxyResources(proxy, push);
      compare(`${golden.name}/listeners.json`, list(ListenerSchema, resources.listeners));
      compare(`${golden.name}/clusters.json`, list(ClusterSchema, resources.clusters));
      compare(`${golden.name}/routes.json`, list(RouteConfigurationSchema, resources.routes));
      compare(`${golden.name}/endpoints.json`, list(ClusterLoadAssignmentSchema, resources.endpoints));
      compare(`${golden.name}/names.json`, toJson(NameTableSchema, buildNameTable(proxy, push)));
    });
  }
});
