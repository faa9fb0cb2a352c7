/** What choosing a host costs, by policy and number of hosts. Run: node bench/micro/load_balancers.ts */
import { type DescMessage, create, toBinary } from '@bufbuild/protobuf';
import { LeastRequestSchema } from '#api/gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts';
import { MaglevSchema } from '#api/gen/envoy/extensions/load_balancing_policies/maglev/v3/maglev_pb.ts';
import { RandomSchema } from '#api/gen/envoy/extensions/load_balancing_policies/random/v3/random_pb.ts';
import { RingHashSchema } from '#api/gen/envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash_pb.ts';
import { RoundRobinSchema } from '#api/gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts';
import { leastRequest } from '#proxy/load_balancing_policies/least_request/least_request.ts';
import { maglev } from '#proxy/load_balancing_policies/maglev/maglev.ts';
import { random } from '#proxy/load_balancing_policies/random/random.ts';
import { ringHash } from '#proxy/load_balancing_policies/ring_hash/ring_hash.ts';
import { roundRobin } from '#proxy/load_balancing_policies/round_robin/round_robin.ts';
import { rawBufferUpstream } from '#proxy/network/raw_buffer.ts';
import { UpstreamHost } from '#proxy/upstream/host.ts';
import type { LoadBalancingPolicyExtension } from '#proxy/upstream/load_balancer.ts';
import { newLoadBalancerStats } from '#proxy/upstream/load_balancer_stats.ts';
import type { LoadBalancerContext } from '#proxy/upstream/upstream.ts';

const policies: [LoadBalancingPolicyExtension, DescMessage][] = [
  [roundRobin, RoundRobinSchema],
  [leastRequest, LeastRequestSchema],
  [random, RandomSchema],
  [ringHash, RingHashSchema],
  [maglev, MaglevSchema],
];
const context: LoadBalancerContext = {
  hash: 0x1234_5678_9abc_def0n,
  metadataMatch: undefined,
  downstream: undefined,
  requestHeaders: undefined,
  shouldSelectAnotherHost: () => false,
  hostSelectionRetryCount: 0,
};
const locality = { region: '', zone: '', subZone: '' };
const rounds = 1_000_000;

for (const [policy, schema] of policies) {
  for (const [count, weighted] of [
    [3, false],
    [1000, false],
    [1000, true],
  ] as const) {
    const hosts = Array.from({ length: count }, (_, i) => {
      const address = { ip: `10.0.${i >> 8}.${i & 255}`, port: 80 };
      return new UpstreamHost(
        address,
        '',
        undefined,
        locality,
        0,
        weighted ? 1 + (i % 5) : 1,
        rawBufferUpstream,
      );
    });
    const lb = policy.create(
      { value: toBinary(schema, create(schema)) },
      {
        healthyPanicThreshold: 50,
        random: Math.random,
        stats: newLoadBalancerStats(),
        local: undefined,
        createChild() {
          throw new Error('no child');
        },
      },
    );
    const built = process.hrtime.bigint();
    const parts = { hosts, healthyHosts: hosts, degradedHosts: [], excludedCount: 0 };
    const localities = [{ locality, weight: 0, ...parts }];
    lb.update([{ priority: 0, ...parts, localities, overprovisioningFactor: 140 }]);
    const buildMs = Number(process.hrtime.bigint() - built) / 1e6;
    for (let i = 0; i < rounds / 10; i++) lb.chooseHost(context);
    const start = process.hrtime.bigint();
    for (let i = 0; i < rounds; i++) lb.chooseHost(context);
    const ns = Number(process.hrtime.bigint() - start) / rounds;
    const name = `${policy.name.split('.').at(-1)} ${count} hosts${weighted ? ' of five weights' : ''}`;
    process.stdout.write(
      `${name.padEnd(46)} ${ns.toFixed(0).padStart(5)} ns, built in ${buildMs.toFixed(1)} ms\n`,
    );
  }
}
