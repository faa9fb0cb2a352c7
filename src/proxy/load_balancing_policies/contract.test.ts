/** One suite for every policy: fairness, weights, health, priorities, localities, host set changes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DescMessage, create, toBinary } from '@bufbuild/protobuf';
import { LeastRequestSchema } from '#api/gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts';
import { MaglevSchema } from '#api/gen/envoy/extensions/load_balancing_policies/maglev/v3/maglev_pb.ts';
import { RandomSchema } from '#api/gen/envoy/extensions/load_balancing_policies/random/v3/random_pb.ts';
import { RingHashSchema } from '#api/gen/envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash_pb.ts';
import { RoundRobinSchema } from '#api/gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts';
import {
  SubsetSchema,
  Subset_LbSubsetFallbackPolicy as FallbackPolicy,
} from '#api/gen/envoy/extensions/load_balancing_policies/subset/v3/subset_pb.ts';
import { rawBufferUpstream } from '../network/raw_buffer.ts';
import { HealthFlag } from '../upstream/health_flags.ts';
import { UpstreamHost } from '../upstream/host.ts';
import { byHealth } from '../upstream/host_sets.ts';
import type {
  HostSet,
  LoadBalancer,
  LoadBalancerOptions,
  LoadBalancingPolicyExtension,
  LocalSide,
} from '../upstream/load_balancer.ts';
import { newLoadBalancerStats } from '../upstream/load_balancer_stats.ts';
import type { Host, LoadBalancerContext } from '../upstream/upstream.ts';
import { leastRequest } from './least_request/least_request.ts';
import { maglev } from './maglev/maglev.ts';
import { random } from './random/random.ts';
import { ringHash } from './ring_hash/ring_hash.ts';
import { roundRobin } from './round_robin/round_robin.ts';
import { subset } from './subset/subset.ts';

let seed = 7;
function draw(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}

function host(n: number, weight = 1, healthy = true, priority = 0): UpstreamHost {
  const noLocality = { region: '', zone: '', subZone: '' };
  const made = new UpstreamHost(
    { ip: `10.0.0.${n}`, port: 80 },
    '',
    undefined,
    noLocality,
    priority,
    weight,
    rawBufferUpstream,
  );
  made.setFlag(HealthFlag.failedEdsHealth, !healthy);
  made.refreshHealth();
  return made;
}

function set(priority: number, ...localities: { weight: number; hosts: UpstreamHost[] }[]): HostSet {
  const hosts = localities.flatMap((entry) => entry.hosts);
  return {
    priority,
    hosts,
    ...byHealth(hosts),
    localities: localities.map((entry) => ({
      locality: { region: '', zone: '', subZone: '' },
      weight: entry.weight,
      hosts: entry.hosts,
      ...byHealth(entry.hosts),
    })),
    overprovisioningFactor: 140,
  };
}

function context(more: Partial<LoadBalancerContext> = {}): LoadBalancerContext {
  return {
    hash: BigInt(Math.floor(draw() * 2 ** 32)) * BigInt(Math.floor(draw() * 2 ** 32)),
    metadataMatch: undefined,
    downstream: undefined,
    requestHeaders: undefined,
    shouldSelectAnotherHost: () => false,
    hostSelectionRetryCount: 0,
    ...more,
  };
}

interface Policy {
  readonly name: string;
  readonly extension: LoadBalancingPolicyExtension;
  readonly schema: DescMessage;
  /** Most deviation of a share from what is fair, as a factor. */
  readonly tolerance: number;
  readonly weights: boolean;
  /** Field of the configuration that turns weighted localities on. */
  readonly locality: object;
  /** Part of every configuration. */
  readonly base?: object;
}

const weighted = {
  localityLbConfig: { localityConfigSpecifier: { case: 'localityWeightedLbConfig', value: {} } },
};
const policies: Policy[] = [
  {
    name: 'round_robin',
    extension: roundRobin,
    schema: RoundRobinSchema,
    tolerance: 0.01,
    weights: true,
    locality: weighted,
  },
  {
    name: 'least_request',
    extension: leastRequest,
    schema: LeastRequestSchema,
    tolerance: 0.1,
    weights: true,
    locality: weighted,
  },
  {
    name: 'random',
    extension: random,
    schema: RandomSchema,
    tolerance: 0.1,
    weights: false,
    locality: weighted,
  },
  {
    name: 'ring_hash',
    extension: ringHash,
    schema: RingHashSchema,
    tolerance: 0.35,
    weights: true,
    locality: { localityWeightedLbConfig: {} },
  },
  {
    name: 'maglev',
    extension: maglev,
    schema: MaglevSchema,
    tolerance: 0.1,
    weights: true,
    locality: { localityWeightedLbConfig: {} },
  },
];

policies.push({
  name: 'subset of round_robin',
  extension: subset,
  schema: SubsetSchema,
  tolerance: 0.01,
  weights: true,
  locality: { localityWeightAware: true },
  base: { fallbackPolicy: FallbackPolicy.ANY_ENDPOINT, subsetSelectors: [{ keys: ['version'] }] },
});

const rounds = 20_000;

/** @param weightedChild the policy inside a subset looks at weights of localities. */
function options(
  healthyPanicThreshold: number,
  local?: LocalSide,
  weightedChild = false,
): LoadBalancerOptions {
  const child = weightedChild
    ? toBinary(RoundRobinSchema, create(RoundRobinSchema, weighted as never))
    : new Uint8Array();
  return {
    healthyPanicThreshold,
    random: draw,
    stats: newLoadBalancerStats(),
    local,
    createChild: () => roundRobin.create({ value: child }, options(healthyPanicThreshold)),
  };
}

function balancer(policy: Policy, config: object = {}, healthyPanicThreshold = 50): LoadBalancer {
  const value = toBinary(policy.schema, create(policy.schema, { ...policy.base, ...config } as never));
  return policy.extension.create(
    { value },
    options(healthyPanicThreshold, undefined, policy.locality === config),
  );
}

function shares(lb: LoadBalancer): Map<Host | undefined, number> {
  const counts = new Map<Host | undefined, number>();
  for (let i = 0; i < rounds; i++) {
    const chosen = lb.chooseHost(context());
    counts.set(chosen, (counts.get(chosen) ?? 0) + 1 / rounds);
  }
  return counts;
}

for (const policy of policies) {
  const { name, tolerance } = policy;
  const near = (actual: number | undefined, expected: number, what: string): void => {
    const got = actual ?? 0;
    assert.ok(
      Math.abs(got - expected) <= expected * tolerance + 0.01,
      `${name} ${what}: ${got}, expected ${expected}`,
    );
  };

  test(`${name}: no host gives none`, () => {
    const lb = balancer(policy);
    assert.equal(lb.chooseHost(context()), undefined);
    lb.update([set(0)]);
    assert.equal(lb.chooseHost(context()), undefined);
  });

  test(`${name}: equal hosts get equal shares`, () => {
    const hosts = [1, 2, 3, 4, 5].map((n) => host(n));
    const lb = balancer(policy);
    lb.update([set(0, { weight: 0, hosts })]);
    const counts = shares(lb);
    for (const one of hosts) near(counts.get(one), 0.2, one.address.ip);
  });

  test(`${name}: weights of hosts`, { skip: policy.weights ? false : 'Envoy ignores weights here' }, () => {
    const hosts = [host(1, 1), host(2, 2), host(3, 5)];
    const lb = balancer(policy);
    lb.update([set(0, { weight: 0, hosts })]);
    const counts = shares(lb);
    near(counts.get(hosts[0]), 0.125, 'weight 1');
    near(counts.get(hosts[1]), 0.25, 'weight 2');
    near(counts.get(hosts[2]), 0.625, 'weight 5');
  });

  test(`${name}: unhealthy hosts are left out until panic`, () => {
    const hosts = [host(1), host(2), host(3), host(4, 1, false)];
    const lb = balancer(policy);
    lb.update([set(0, { weight: 0, hosts })]);
    assert.equal(shares(lb).get(hosts[3]), undefined);
    for (const one of hosts.slice(1)) one.setFlag(HealthFlag.failedEdsHealth, true);
    for (const one of hosts) one.refreshHealth();
    lb.update([set(0, { weight: 0, hosts })]);
    for (const one of hosts) near(shares(lb).get(one), 0.25, 'panic');
    const strict = balancer(policy, {}, 0);
    strict.update([set(0, { weight: 0, hosts })]);
    near(shares(strict).get(hosts[0]), 1, 'panic off');
    for (const one of hosts) one.setFlag(HealthFlag.failedEdsHealth, true);
    for (const one of hosts) one.refreshHealth();
    strict.update([set(0, { weight: 0, hosts })]);
    assert.equal(strict.chooseHost(context()), undefined);
  });

  test(`${name}: lower priorities take what higher ones cannot`, () => {
    const first = [host(1), host(2), host(3, 1, false), host(4, 1, false)];
    const second = [host(5, 1, true, 1)];
    const lb = balancer(policy);
    lb.update([set(0, { weight: 0, hosts: first }), set(1, { weight: 0, hosts: second })]);
    // 1.4 * 50 % of the first priority is healthy: it takes 70 %.
    near(shares(lb).get(second[0]), 0.3, 'second priority');
    for (const one of first) one.setFlag(HealthFlag.failedEdsHealth, false);
    for (const one of first) one.refreshHealth();
    lb.update([set(0, { weight: 0, hosts: first }), set(1, { weight: 0, hosts: second })]);
    assert.equal(shares(lb).get(second[0]), undefined);
    for (const one of first) one.setFlag(HealthFlag.failedEdsHealth, true);
    for (const one of first) one.refreshHealth();
    lb.update([set(0, { weight: 0, hosts: first }), set(1, { weight: 0, hosts: second })]);
    near(shares(lb).get(second[0]), 1, 'failover');
  });

  test(`${name}: weighted localities`, () => {
    const near1 = [host(1), host(2)];
    const far = [host(3)];
    const unused = [host(4)];
    const lb = balancer(policy, policy.locality);
    const sets = () => [
      set(0, { weight: 80, hosts: near1 }, { weight: 20, hosts: far }, { weight: 0, hosts: unused }),
    ];
    lb.update(sets());
    let counts = shares(lb);
    near(counts.get(far[0]), 0.2, 'locality of weight 20');
    near(counts.get(near1[0]), 0.4, 'locality of weight 80');
    assert.equal(counts.get(unused[0]), undefined);
    // Half of the first locality is gone: 80 * 1.4 * 0.5 = 56 against 20. Tables of hashes keep the weight, as Envoy's.
    const left = name === 'ring_hash' || name === 'maglev' ? 0.8 : 56 / 76;
    near1[1]!.setFlag(HealthFlag.failedEdsHealth, true);
    near1[1]!.refreshHealth();
    lb.update(sets());
    counts = shares(lb);
    near(counts.get(near1[0]), left, 'half healthy locality');
  });

  test(`${name}: hosts come and go`, () => {
    const hosts = [1, 2, 3, 4].map((n) => host(n));
    const lb = balancer(policy);
    lb.update([set(0, { weight: 0, hosts })]);
    shares(lb);
    const next = [...hosts.slice(1), host(9)];
    lb.update([set(0, { weight: 0, hosts: next })]);
    const counts = shares(lb);
    assert.equal(counts.get(hosts[0]), undefined);
    for (const one of next) near(counts.get(one), 0.25, one.address.ip);
  });

  test(`${name}: hosts change while others choose`, () => {
    const pool = Array.from({ length: 20 }, (_, n) => host(n + 1));
    const lb = balancer(policy);
    const chosen = new Map<Host | undefined, number>();
    const present = new Map<Host, number>();
    for (let change = 0; change < 30; change++) {
      const hosts = pool.filter((_, n) => n < 5 || draw() < 0.5);
      lb.update([set(0, { weight: 0, hosts })]);
      for (const one of hosts) present.set(one, (present.get(one) ?? 0) + 300 / hosts.length);
      for (let i = 0; i < 300; i++) {
        const one = lb.chooseHost(context());
        assert.ok(one !== undefined && hosts.includes(one as UpstreamHost), 'a host that is there');
        chosen.set(one, (chosen.get(one) ?? 0) + 1);
      }
    }
    // Nobody starves and nobody is favoured by starting anew all the time.
    for (const [one, fair] of present) {
      const count = chosen.get(one) ?? 0;
      assert.ok(Math.abs(count - fair) < fair * (tolerance + 0.3), `${one.address.ip}: ${count} of ${fair}`);
    }
  });

  test(`${name}: degraded hosts take what healthy ones cannot`, () => {
    const hosts = [host(1), host(2, 1, true), host(3, 1, true), host(4, 1, true)];
    for (const one of hosts.slice(1)) {
      one.setFlag(HealthFlag.degradedEdsHealth, true);
      one.refreshHealth();
    }
    const lb = balancer(policy);
    lb.update([set(0, { weight: 0, hosts })]);
    // 1.4 * 25 % for the healthy host; tables of hashes hold healthy hosts only, as in Envoy.
    const hashes = name === 'ring_hash' || name === 'maglev';
    near(shares(lb).get(hosts[0]), hashes ? 1 : 0.35, 'healthy host');
  });

  test(`${name}: another host is chosen when the first is not wanted`, () => {
    const hosts = [1, 2, 3, 4].map((n) => host(n));
    const lb = balancer(policy);
    lb.update([set(0, { weight: 0, hosts })]);
    let again = 0;
    for (let i = 0; i < 500; i++) {
      const chosen = lb.chooseHost(
        context({ shouldSelectAnotherHost: (one) => one === hosts[0], hostSelectionRetryCount: 50 }),
      );
      if (chosen === hosts[0]) again++;
    }
    assert.ok(again < 25, `the unwanted host was chosen ${again} times of 500`);
  });
}

for (const policy of policies.filter(({ name }) => name === 'ring_hash' || name === 'maglev')) {
  const hosts = Array.from({ length: 100 }, (_, n) => host(n + 1));
  const hashes = Array.from({ length: 5000 }, () => context().hash);
  const placesOf = (lb: LoadBalancer) => hashes.map((hash) => lb.chooseHost(context({ hash })));

  test(`${policy.name}: the order of hosts does not matter`, () => {
    const one = balancer(policy);
    const two = balancer(policy);
    one.update([set(0, { weight: 0, hosts })]);
    two.update([set(0, { weight: 0, hosts: [...hosts].reverse() })]);
    assert.deepEqual(
      placesOf(two).map((chosen) => chosen?.address.ip),
      placesOf(one).map((chosen) => chosen?.address.ip),
    );
  });

  test(`${policy.name}: few keys move when one of 100 hosts leaves, and they come back`, () => {
    const lb = balancer(policy);
    lb.update([set(0, { weight: 0, hosts })]);
    const before = placesOf(lb);
    lb.update([set(0, { weight: 0, hosts: hosts.slice(1) })]);
    const left = placesOf(lb);
    const moved = left.filter((chosen, i) => before[i] !== hosts[0] && chosen !== before[i]).length;
    // A ring moves only the keys of the host that left; a Maglev table a few more.
    const most = policy.name === 'ring_hash' ? 0.01 : 0.03;
    assert.ok(moved <= hashes.length * most, `${moved} of ${hashes.length} keys moved`);
    assert.ok(!left.includes(hosts[0]));
    lb.update([set(0, { weight: 0, hosts })]);
    assert.deepEqual(placesOf(lb), before);
  });

  test(`${policy.name}: no host has more than its bound`, () => {
    const lb = balancer(policy, { consistentHashingLbConfig: { hashBalanceFactor: 150 } });
    const few = [1, 2, 3, 4].map((n) => host(n));
    lb.update([set(0, { weight: 0, hosts: few })]);
    const hash = 42n;
    const wanted = lb.chooseHost(context({ hash })) as UpstreamHost;
    for (let i = 0; i < 40; i++) (lb.chooseHost(context({ hash })) as UpstreamHost).activeRequests++;
    // 1.5 times a fourth of all, rounded up.
    assert.ok(wanted.activeRequests >= 10 && wanted.activeRequests <= 16, String(wanted.activeRequests));
    for (const one of few) one.activeRequests = 0;
    assert.equal(lb.chooseHost(context({ hash })), wanted);
  });
}

test('least_request prefers the host with fewer requests', () => {
  const hosts = [host(1), host(2)];
  hosts[0]!.activeRequests = 10;
  for (const [config, least] of [
    [{}, 0.7],
    [{ selectionMethod: 1 }, 1],
  ] as const) {
    const lb = balancer(policies[1]!, config);
    lb.update([set(0, { weight: 0, hosts })]);
    assert.ok((shares(lb).get(hosts[1]) ?? 0) >= least - 0.001);
  }
});

test('slow start gives a new host its share step by step', () => {
  for (const policy of policies.slice(0, 2)) {
    const lb = balancer(policy, { slowStartConfig: { slowStartWindow: { seconds: 1000n, nanos: 0 } } });
    const old = host(1);
    old.activeRequests = 0;
    lb.update([set(0, { weight: 0, hosts: [old] })]);
    const fresh = host(2);
    lb.update([set(0, { weight: 0, hosts: [old, fresh] })]);
    // Both are in their window here; the minimum weight keeps both in use.
    const counts = shares(lb);
    assert.ok((counts.get(old) ?? 0) > 0.3 && (counts.get(fresh) ?? 0) > 0.3);
  }
});
