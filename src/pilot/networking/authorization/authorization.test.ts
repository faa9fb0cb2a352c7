import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { create, fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { parseAllDocuments, parse } from 'yaml';
import { HttpFilterSchema } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import type { ExtensionProvider } from '#config/mesh_config/extension_provider.ts';
import { createMemoryStore } from '#config/store/memory.ts';
import { buildAuthorizationPolicyIndex, policiesFor } from '../../model/authorization_policy_index.ts';
import { createMeshIndex } from '../../model/mesh_index.ts';
import { testResource } from '../../model/test_resource.ts';
import { customFilters } from './custom_filters.ts';
import { type AuthorizationFilter, rbacFilters } from './rbac_filters.ts';

/** Istio's own cases (testdata/istio/README.md): policies of a workload, and the filters they become. */
interface Case {
  name: string;
  protocol: 'http' | 'tcp';
  inputs: string[];
  params: {
    custom: boolean;
    meshConfig: {
      trustDomain?: string;
      trustDomainAliases?: string[];
      extensionProviders?: ExtensionProvider[];
    };
  };
  expected: string[];
}

const folder = join(import.meta.dirname, 'testdata/istio');
const registry = createTypeRegistry();
const cases = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Case[];
const common = JSON.parse(readFileSync(join(folder, 'common.json'), 'utf8')) as {
  workload: { namespace: string; labels: Record<string, string> };
  services: { hostname: string; namespace: string }[];
};

/** Cases that are known to differ; a case that stands here and agrees is a failure too. */
const knownToDiffer: ReadonlySet<string> = new Set([]);

function readCase(testCase: Case): AuthorizationFilter[] {
  const resources = testCase.inputs.flatMap((file) =>
    parseAllDocuments(readFileSync(join(folder, file), 'utf8'))
      .map((document) => document.toJS() as Record<string, unknown> | null)
      .filter((object) => object !== null)
      .map((object) => testResource(object)),
  );
  const { trustDomain, trustDomainAliases = [], extensionProviders = [] } = testCase.params.meshConfig;
  const mesh = createMeshIndex({ rootNamespace: '' });
  const index = buildAuthorizationPolicyIndex(createMemoryStore({ resources }), mesh);
  const policies = policiesFor(index, common.workload.namespace, common.workload.labels);
  const trustDomains = trustDomain === undefined ? [] : [trustDomain, ...trustDomainAliases];
  if (!testCase.params.custom) return rbacFilters(policies, trustDomains, testCase.protocol);
  return customFilters({
    policies: policies.CUSTOM,
    providers: extensionProviders,
    hasService: (hostname, namespace) =>
      common.services.some(
        (service) => service.hostname === hostname && (namespace ?? service.namespace) === service.namespace,
      ),
    trustDomains,
    protocol: testCase.protocol,
  });
}

function filterJson(filter: AuthorizationFilter): JsonValue {
  const message = create(HttpFilterSchema, {
    name: filter.name,
    configType: { case: 'typedConfig', value: filter.typedConfig },
  });
  return toJson(HttpFilterSchema, message, { registry });
}

describe("Istio's authorization cases", () => {
  for (const testCase of cases) {
    test(testCase.name, () => {
      const actual = readCase(testCase).map(filterJson);
      const expected = testCase.expected.map((file) => {
        const json = parse(readFileSync(join(folder, file), 'utf8')) as JsonValue;
        return toJson(HttpFilterSchema, fromJson(HttpFilterSchema, json, { registry }), { registry });
      });
      if (knownToDiffer.has(testCase.name))
        assert.notDeepEqual(actual, expected, 'agrees: take it off the list');
      else assert.deepEqual(actual, expected);
    });
  }
});
