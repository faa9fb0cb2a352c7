import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { RBAC_Action } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { RBACPerRouteSchema, RBACSchema } from '#api/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { FactoryContext } from '../../../factory_context.ts';
import { type FilterCallbacks, FilterStatus, type LocalReply } from '../../../http/filter.ts';
import { RequestHeaderMap } from '../../../http/header_map.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { StreamInfo } from '../../../stream_info/stream_info.ts';
import { httpRbac } from './config.ts';

type Config = MessageInitShape<typeof RBACSchema>;
const context = { metrics: new MetricsRegistry(), statPrefix: 'in' } as unknown as FactoryContext;
const filterName = 'my-rbac';

const onPath = (path: string) => ({
  permissions: [
    {
      rule: {
        case: 'urlPath' as const,
        value: {
          rule: {
            case: 'path' as const,
            value: { matchPattern: { case: 'prefix' as const, value: path } },
          },
        },
      },
    },
  ],
  principals: [{ identifier: { case: 'any' as const, value: true } }],
});
const rules = (action: RBAC_Action) => ({ action, policies: { 'ns[x] a': onPath('/a') } });

function run(config: Config, path: string, perRoute?: MessageInitShape<typeof RBACPerRouteSchema>) {
  const factory = httpRbac.create(
    { typeUrl: httpRbac.typeUrls[0], value: toBinary(RBACSchema, create(RBACSchema, config)) },
    context,
    filterName,
  );
  const override =
    perRoute === undefined
      ? undefined
      : httpRbac.createRouteConfig({
          typeUrl: httpRbac.typeUrls[1],
          value: toBinary(RBACPerRouteSchema, create(RBACPerRouteSchema, perRoute)),
        });
  const connection = new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 80 }, { ip: '10.0.0.2', port: 1 });
  const streamInfo = new StreamInfo(connection, 'HTTP/1.1');
  const replies: LocalReply[] = [];
  const callbacks = {
    streamInfo,
    route: () => ({
      name: '',
      clusterName: '',
      metadata: undefined,
      perFilterConfig: (name: string) => (name === filterName ? override : undefined),
    }),
    sendLocalReply: (reply: LocalReply) => void replies.push(reply),
  } as unknown as FilterCallbacks;
  const headers = new RequestHeaderMap();
  headers.method = 'GET';
  headers.path = path;
  const status = factory.createFilter(callbacks).decodeHeaders?.(headers, true);
  return { status, reply: replies[0], streamInfo };
}

test('a denied request gets 403 with the policy in its details', () => {
  const { status, reply } = run({ rules: rules(RBAC_Action.DENY) }, '/a/b?c');
  assert.equal(status, FilterStatus.stopIteration);
  assert.deepEqual(reply, {
    status: 403,
    body: 'RBAC: access denied',
    details: 'rbac_access_denied_matched_policy[ns[x]_a]',
    flags: 0,
  });
  assert.equal(
    run({ rules: rules(RBAC_Action.ALLOW) }, '/b').reply?.details,
    'rbac_access_denied_matched_policy[none]',
  );
});

test('what may pass passes', () => {
  const cases: [string, Config, string][] = [
    ['allowed', { rules: rules(RBAC_Action.ALLOW) }, '/a'],
    ['not denied', { rules: rules(RBAC_Action.DENY) }, '/b'],
    ['no rules', {}, '/b'],
    ['shadow', { shadowRules: rules(RBAC_Action.DENY) }, '/a'],
    ['log', { rules: rules(RBAC_Action.LOG) }, '/a'],
  ];
  for (const [name, config, path] of cases) {
    const { status, reply } = run(config, path);
    assert.equal(status, FilterStatus.continue, name);
    assert.equal(reply, undefined, name);
  }
});

test('shadow and log rules leave marks', () => {
  const shadow = run(
    { shadowRules: rules(RBAC_Action.ALLOW), shadowRulesStatPrefix: 'istio_dry_run_allow_' },
    '/b',
  );
  assert.deepEqual(shadow.streamInfo.dynamicMetadata?.get('envoy.filters.http.rbac'), {
    istio_dry_run_allow_shadow_engine_result: 'denied',
  });
  for (const [path, hint] of [
    ['/a', true],
    ['/b', false],
  ] as const) {
    const { streamInfo } = run({ rules: rules(RBAC_Action.LOG) }, path);
    assert.deepEqual(streamInfo.dynamicMetadata?.get('envoy.common'), { access_log_hint: hint });
  }
});

test('a route brings other rules, or none', () => {
  const config = { rules: rules(RBAC_Action.DENY) };
  assert.equal(run(config, '/a', { rbac: { rules: rules(RBAC_Action.ALLOW) } }).reply, undefined);
  assert.equal(run(config, '/b', { rbac: { rules: rules(RBAC_Action.ALLOW) } }).reply?.status, 403);
  assert.equal(run(config, '/a', {}).reply, undefined);
});
