import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { RBAC_Action } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { RBACSchema } from '#api/gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { NetworkFilterStatus, type ReadFilterCallbacks } from '../../../network/filter.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { RbacCounts } from '../../rbac/stats.ts';
import { compileNetworkRbac, createNetworkRbac } from './rbac.ts';

const fromTen = {
  permissions: [{ rule: { case: 'any' as const, value: true } }],
  principals: [
    { identifier: { case: 'sourceIp' as const, value: { addressPrefix: '10.0.0.0', prefixLen: 8 } } },
  ],
};

const metrics = new MetricsRegistry();

function run(config: MessageInitShape<typeof RBACSchema>, ip: string) {
  const factory = createNetworkRbac({
    ...compileNetworkRbac(create(RBACSchema, config)),
    counts: new RbacCounts(metrics, 'envoy_rbac', {}, false),
    shadowCounts: new RbacCounts(metrics, 'envoy_rbac', {}, true),
  });
  assert.ok(!factory.terminal);
  const info = new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 80 }, { ip, port: 1234 });
  const closed: string[] = [];
  const callbacks = {
    connection: { info },
    close: (details: string) => void closed.push(details),
    continueReading() {},
  } as unknown as ReadFilterCallbacks;
  const filter = factory.create();
  return { status: filter.onNewConnection(callbacks), closed, info, filter };
}

const allow = { action: RBAC_Action.ALLOW, policies: { 'from ten': fromTen } };
const deny = { action: RBAC_Action.DENY, policies: { 'from ten': fromTen } };

test('lets pass or closes with the name of the policy', () => {
  const cases: [string, MessageInitShape<typeof RBACSchema>, string, readonly string[]][] = [
    ['allowed', { rules: allow }, '10.1.1.1', []],
    ['no policy allows', { rules: allow }, '192.0.2.1', ['rbac_access_denied_matched_policy[none]']],
    ['denied', { rules: deny }, '10.1.1.1', ['rbac_access_denied_matched_policy[from_ten]']],
    ['not denied', { rules: deny }, '192.0.2.1', []],
    ['no rules', {}, '192.0.2.1', []],
    ['shadow rules never close', { shadowRules: deny }, '10.1.1.1', []],
  ];
  for (const [name, config, ip, expected] of cases) {
    const { status, closed } = run(config, ip);
    assert.deepEqual(closed, expected, name);
    const wanted = expected.length === 0 ? NetworkFilterStatus.continue : NetworkFilterStatus.stopIteration;
    assert.equal(status, wanted, name);
  }
});

test('shadow rules leave their result in dynamic metadata', () => {
  const { info } = run({ shadowRules: deny, shadowRulesStatPrefix: 'dry_' }, '10.1.1.1');
  assert.deepEqual(info.dynamicMetadata?.get('envoy.filters.network.rbac'), {
    dry_shadow_effective_policy_id: 'from ten',
    dry_shadow_engine_result: 'denied',
  });
});

test('a denial waits when told so, unless the peer leaves first', async () => {
  const config = { rules: deny, delayDeny: { seconds: 0n, nanos: 20_000_000 } };
  const waiting = run(config, '10.1.1.1');
  const left = run(config, '10.1.1.1');
  assert.deepEqual(waiting.closed, []);
  left.filter.onClose?.();
  await sleep(80);
  assert.deepEqual(waiting.closed, ['rbac_access_denied_matched_policy[from_ten]']);
  assert.deepEqual(left.closed, []);
});

test('matcher trees are refused by name', () => {
  assert.throws(() => run({ matcher: {} }, '10.1.1.1'), /^Error: matcher: is not supported/);
  assert.throws(() => run({ shadowMatcher: {} }, '10.1.1.1'), /^Error: shadow_matcher: /);
});
