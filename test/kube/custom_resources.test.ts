/** Istio's public YAML against a real API server with our kinds: what our validation accepts, the server accepts. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseAllDocuments, stringify } from 'yaml';
import { kinds } from '#config/kinds/kinds.ts';
import { yamlOptions } from '#config/yaml/options.ts';
import { parseResources } from '#config/yaml/parse.ts';
import { applyManifest, waitForKind } from '#install/apply.ts';
import { installManifests } from '#install/manifests.ts';
import { readInstallValues } from '#install/read_values.ts';
import type { KubeClient } from '#kube/client.ts';
import { KubeError } from '#kube/kube_error.ts';
import { apiResource, collectionPath } from '#kube/object.ts';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { needs } from '../harness/optional_parts.ts';

const data = process.env['TRYSAIL_TESTDATA'] ?? join(import.meta.dirname, '../../../shared/istio-testdata');
const skip =
  needs('etcd and kube-apiserver', kubeBinaries()) ||
  needs('test data of Istio', existsSync(data) ? data : undefined);

interface Document {
  readonly file: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name?: string };
  readonly [field: string]: unknown;
}

/** Documents of Istio's groups, each once. */
function documents(): Document[] {
  const found = new Map<string, Document>();
  for (const file of globSync('{validate,samples,analyze,authz,behaviour-*}/**/*.{yaml,yml}', {
    cwd: data,
  }).sort()) {
    const text = readFileSync(join(data, file), 'utf8');
    if (!text.includes('istio.io/') || text.includes('{{')) continue;
    for (const document of parseAllDocuments(text, yamlOptions())) {
      if (document.errors.length > 0) continue;
      const value = document.toJS({ maxAliasCount: 100 }) as Omit<Document, 'file'> | null;
      if (typeof value?.apiVersion !== 'string' || !/^\w+\.istio\.io\//.test(value.apiVersion)) continue;
      found.set(JSON.stringify(value), { ...value, file } as Document);
    }
  }
  return [...found.values()];
}

const plurals = new Map<string, string>([
  ['EnvoyFilter', 'envoyfilters'],
  ['ProxyConfig', 'proxyconfigs'],
  ['WorkloadEntry', 'workloadentries'],
  ['WorkloadGroup', 'workloadgroups'],
  ['RequestAuthentication', 'requestauthentications'],
  ['WasmPlugin', 'wasmplugins'],
  ...kinds.map(({ kind, plural }) => [kind, plural] as const),
]);

describe('kinds on a server', { skip, timeout: 240_000 }, () => {
  let server: KubeApiServer;
  let client: KubeClient;

  before(async () => {
    server = await KubeApiServer.start();
    client = await server.client();
    const definitions = installManifests({
      namespace: 'istio-system',
      kubeVersion: 'v1.20.2',
      values: readInstallValues({}),
    }).filter(({ kind }) => kind === 'CustomResourceDefinition');
    for (const definition of definitions) await applyManifest(client, definition);
    for (const definition of definitions) await waitForKind(client, definition, 30_000);
  });
  after(async () => {
    client?.close();
    await server?.close();
  });

  /** What the server says against an object; undefined when it takes it. Nothing is stored. */
  async function refusal({ file: _file, ...document }: Document): Promise<string | undefined> {
    const { apiVersion, kind, metadata } = document;
    const plural = plurals.get(kind);
    if (plural === undefined) return `${kind} is not a kind of ours`;
    const name = (metadata.name ?? '') === '' ? 'default' : metadata.name;
    try {
      await client.request({
        method: 'POST',
        path: collectionPath(apiResource(apiVersion, plural), 'default'),
        query: { dryRun: 'All' },
        body: { ...document, metadata: { ...metadata, name, namespace: 'default' } },
      });
      return undefined;
    } catch (error) {
      if (!(error instanceof KubeError) || error.status === 0) throw error;
      return `${error.status} ${error.message}`;
    }
  }

  it('takes what our validation accepts', async (t) => {
    const wrong: string[] = [];
    let accepted = 0;
    let refused = 0;
    for (const document of documents()) {
      const { file, ...value } = document;
      const { errors, warnings } = parseResources(stringify(value), file);
      // A kind that is not read is neither accepted nor refused by us; valid ones must be taken all the same.
      const read = !warnings.some(({ code }) => code === 'unsupported_kind');
      if (errors.length > 0) {
        if ((await refusal(document)) !== undefined) refused++;
        continue;
      }
      if (!read && (file.includes('invalid') || !plurals.has(document.kind))) continue;
      accepted++;
      const said = await refusal(document);
      if (said !== undefined) wrong.push(`${file}: ${document.kind} ${document.metadata.name}: ${said}`);
    }
    t.diagnostic(`${accepted} objects accepted by both, ${refused} refused by both`);
    assert.deepEqual(wrong, []);
    assert.ok(accepted > 100, `only ${accepted} objects`);
  });

  const bad: readonly (readonly [kind: string, apiVersion: string, spec: object, field: RegExp])[] = [
    ['VirtualService', 'networking.istio.io/v1', { hosts: 'a' }, /spec\.hosts/],
    [
      'VirtualService',
      'networking.istio.io/v1alpha3',
      { hosts: ['a'], http: [{ route: [{ destination: { host: 'a' }, weight: 'all' }] }] },
      /spec\.http.*weight/,
    ],
    [
      'DestinationRule',
      'networking.istio.io/v1beta1',
      { host: 'a', trafficPolicy: { tls: { mode: 'SOME' } } },
      /trafficPolicy\.tls\.mode/,
    ],
    ['PeerAuthentication', 'security.istio.io/v1', { mtls: { mode: true } }, /spec\.mtls\.mode/],
    ['AuthorizationPolicy', 'security.istio.io/v1beta1', { action: 'PERHAPS' }, /spec\.action/],
    ['Telemetry', 'telemetry.istio.io/v1alpha1', { accessLogging: {} }, /spec\.accessLogging/],
    [
      'ServiceEntry',
      'networking.istio.io/v1',
      { hosts: ['a.example'], ports: [{ number: 70_000, name: 'x' }] },
      /number/,
    ],
  ];
  for (const [kind, apiVersion, spec, field] of bad)
    it(`refuses ${kind} ${JSON.stringify(spec)}`, async () => {
      const said = await refusal({ file: '', apiVersion, kind, metadata: { name: 'bad' }, spec });
      assert.match(said ?? 'accepted', field);
      assert.match(said ?? '', /^422 /);
    });

  it('keeps status apart from the spec', async () => {
    const resource = apiResource('security.istio.io/v1', 'peerauthentications');
    await client.create(resource, 'default', {
      apiVersion: 'security.istio.io/v1',
      kind: 'PeerAuthentication',
      metadata: { name: 'a', namespace: 'default' },
      spec: { mtls: { mode: 'STRICT' } },
      status: { conditions: [] },
    } as { metadata: { name: string } });
    const stored = (await client.get(resource, 'default', 'a')) as { status?: object; spec?: object };
    assert.deepEqual([stored.spec, stored.status], [{ mtls: { mode: 'STRICT' } }, undefined]);
    const patched = (await client.patch(
      resource,
      'default',
      'a',
      'merge',
      { spec: { mtls: { mode: 'DISABLE' } }, status: { conditions: [{ type: 'Reconciled' }] } },
      { subresource: 'status' },
    )) as { status?: object; spec?: object };
    assert.deepEqual(
      [patched.spec, patched.status],
      [{ mtls: { mode: 'STRICT' } }, { conditions: [{ type: 'Reconciled' }] }],
    );
  });
});
