/** AuthorizationPolicies with action CUSTOM: the filters come from the control plane's own code, as proxies receive them. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { create, toJson } from '@bufbuild/protobuf';
import { FilterSchema } from '../../src/api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import { HttpFilterSchema } from '../../src/api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import {
  Authorization,
  type CheckRequest,
  CheckResponseSchema,
} from '../../src/api/gen/envoy/service/auth/v3/external_auth_pb.ts';
import { createTypeRegistry } from '../../src/api/registry.ts';
import type { ExtensionProvider } from '../../src/config/mesh_config/extension_provider.ts';
import { createMemoryStore } from '../../src/config/store/memory.ts';
import {
  buildAuthorizationPolicyIndex,
  policiesFor,
} from '../../src/pilot/model/authorization_policy_index.ts';
import { createMeshIndex } from '../../src/pilot/model/mesh_index.ts';
import { testResource } from '../../src/pilot/model/test_resource.ts';
import { customFilters } from '../../src/pilot/networking/authorization/custom_filters.ts';
import { AuthzHttpService } from '../harness/authz_http_service.ts';
import { conformance, type Run } from '../harness/conformance.ts';
import { GrpcService } from '../harness/grpc_service.ts';

const service = 'guard.mesh.svc.cluster.local';

const providers: readonly ExtensionProvider[] = [
  { name: 'grpc-guard', envoyExtAuthzGrpc: { service, port: 9000, timeout: '1s' } },
  {
    name: 'http-guard',
    envoyExtAuthzHttp: {
      service,
      port: 8000,
      timeout: '1s',
      pathPrefix: '/check',
      includeRequestHeadersInCheck: ['x-user'],
      includeAdditionalHeadersInCheck: { 'x-mesh': 'yes' },
      headersToUpstreamOnAllow: ['x-auth-user'],
      headersToDownstreamOnDeny: ['x-reason'],
      headersToDownstreamOnAllow: ['x-ok-info'],
      includeRequestBodyInCheck: { maxRequestBytes: 100, allowPartialMessage: true },
      statusOnError: '503',
    },
  },
];

const paths: Readonly<Record<string, string>> = {
  'grpc-guard': '/by-grpc*',
  'http-guard': '/by-http*',
  missing: '/by-nobody*',
};

function policy(provider: string, to: object): Record<string, unknown> {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `ask-${provider}`, namespace: 'mesh' },
    spec: { action: 'CUSTOM', provider: { name: provider }, rules: [to] },
  };
}

function filtersOf(protocol: 'http' | 'tcp', policies: readonly Record<string, unknown>[]): string {
  const store = createMemoryStore({ resources: policies.map((object) => testResource(object)) });
  const index = buildAuthorizationPolicyIndex(store, createMeshIndex({ rootNamespace: '' }));
  const filters = customFilters({
    policies: policiesFor(index, 'mesh', {}).CUSTOM,
    providers,
    hasService: (hostname) => hostname === service,
    trustDomains: ['cluster.local'],
    protocol,
  });
  const registry = createTypeRegistry();
  return filters
    .map(({ name, typedConfig }) => {
      const configType = { case: 'typedConfig' as const, value: typedConfig };
      return JSON.stringify(
        protocol === 'http'
          ? toJson(HttpFilterSchema, create(HttpFilterSchema, { name, configType }), { registry })
          : toJson(FilterSchema, create(FilterSchema, { name, configType }), { registry }),
      );
    })
    .join(', ');
}

let http: AuthzHttpService;
let grpc: GrpcService;
const checks: CheckRequest[] = [];

function allows({ attributes }: CheckRequest): boolean {
  const about = attributes?.request?.http;
  return about === undefined ? connectionsPass : !about.path.includes('deny');
}
let connectionsPass = true;

/** Sends a request over a plain connection; empty when it was closed. */
async function overTcp(run: Run): Promise<string> {
  const socket = connect(run.port('tcp'), '127.0.0.1');
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (data: Buffer) => {
    text += data.toString();
    if (text.includes('\r\n\r\n')) socket.destroy();
  });
  socket.write('GET / HTTP/1.1\r\nhost: app\r\n\r\n');
  await new Promise((resolve) => socket.on('close', resolve));
  return text.slice(0, 15);
}

conformance(import.meta.filename, {
  rows: ['7.10'],
  async setUp() {
    checks.length = 0;
    http = await AuthzHttpService.start();
    grpc = await GrpcService.start((router) =>
      router.rpc(Authorization.method.check, (request) => {
        checks.push(request);
        return create(CheckResponseSchema, {
          status: {
            $typeName: 'google.rpc.Status',
            code: allows(request) ? 0 : 7,
            message: '',
            details: [],
          },
        });
      }),
    );
    const names = Object.keys(paths);
    const toPaths = (name: string): object => ({ to: [{ operation: { paths: [paths[name]] } }] });
    return {
      HTTP_PORT: String(http.port),
      GRPC_PORT: String(grpc.port),
      HTTP_FILTERS: filtersOf(
        'http',
        names.map((name) => policy(name, toPaths(name))),
      ),
      TCP_FILTERS: filtersOf('tcp', [
        policy('grpc-guard', { from: [{ source: { ipBlocks: ['127.0.0.0/8'] } }] }),
      ]),
    };
  },
  async tearDown() {
    await http.stop();
    await grpc.stop();
  },
  cases: {
    'only what a policy chose is asked about': async (run) => {
      assert.equal((await run.get('/open')).status, 200);
      assert.equal(checks.length, 0);
      assert.deepEqual(http.take(), []);
    },
    'a gRPC provider': async (run) => {
      assert.equal((await run.get('/by-grpc/allow')).status, 200);
      assert.equal((await run.get('/by-grpc/deny')).status, 403);
      assert.deepEqual(
        checks.splice(0).map(({ attributes }) => attributes?.request?.http?.path),
        ['/by-grpc/allow', '/by-grpc/deny'],
      );
      assert.deepEqual(http.take(), []);
    },
    'an HTTP provider with all that MeshConfig can say': async (run) => {
      const allowed = await run.get('/by-http/allow', {
        method: 'POST',
        headers: { 'x-user': 'u', 'x-secret': 's' },
        body: 'hello',
      });
      assert.equal(allowed.status, 200);
      assert.equal(allowed.headers['x-ok-info'], 'fine');
      assert.equal(allowed.echo().headers['x-auth-user'], 'alice');
      assert.equal(allowed.echo().body, 'hello');
      const [question] = http.take();
      assert.equal(question?.path, '/check/by-http/allow');
      assert.equal(question?.body, 'hello');
      assert.deepEqual(
        ['x-user', 'x-mesh', 'x-secret'].map((name) => question?.headers[name]),
        ['u', 'yes', undefined],
      );
      const denied = await run.get('/by-http/deny');
      assert.deepEqual(
        [denied.status, denied.headers['x-reason'], denied.body],
        [403, 'because', '{"no":1}'],
      );
      assert.equal((await run.get('/by-http/error')).status, 503);
      assert.equal(checks.length, 0);
    },
    'a provider that does not exist opens no door': async (run) => {
      assert.equal((await run.get('/by-nobody/allow')).status, 403);
    },
    'TCP connections': async (run) => {
      connectionsPass = true;
      checks.length = 0;
      assert.equal(await overTcp(run), 'HTTP/1.1 200 OK');
      const address = checks[0]?.attributes?.source?.address?.address;
      assert.ok(address?.case === 'socketAddress' && address.value.address === '127.0.0.1');
      connectionsPass = false;
      assert.equal(await overTcp(run), '');
      assert.equal(await run.stat('ext_authz.tcp..denied'), 1);
      assert.equal(await run.stat('ext_authz.tcp..ok'), 1);
      assert.equal(await run.stat('ext_authz.tcp..cx_closed'), 1);
    },
  },
});
