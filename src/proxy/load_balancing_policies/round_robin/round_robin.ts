/** One host after the other, in proportion to weights (envoy.load_balancing_policies.round_robin). */
import { fromBinary } from '@bufbuild/protobuf';
import { RoundRobinSchema } from '#api/gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { LoadBalancingPolicyExtension } from '../../upstream/load_balancer.ts';
import type { Host } from '../../upstream/upstream.ts';
import { EdfScheduler } from '../edf_scheduler.ts';
import { HostBalancer, equalWeights } from '../host_balancer.ts';
import type { HostPicker } from '../host_picker.ts';
import { readLocalityConfig } from '../locality_config.ts';
import { SlowStart } from '../slow_start.ts';
import { WarmingBalancer } from '../warming_balancer.ts';

class TurnPicker implements HostPicker {
  readonly #hosts: readonly Host[];
  #next: number;

  constructor(hosts: readonly Host[], random: () => number) {
    this.#hosts = hosts;
    this.#next = Math.floor(random() * hosts.length);
  }

  pick(): Host | undefined {
    const host = this.#hosts[this.#next];
    this.#next = this.#next + 1 < this.#hosts.length ? this.#next + 1 : 0;
    return host;
  }
}

export const roundRobin = {
  name: 'envoy.load_balancing_policies.round_robin',
  typeUrls: [typeUrlOf(RoundRobinSchema)],
  create(config, options) {
    const proto = fromBinary(RoundRobinSchema, config.value);
    const slow = proto.slowStartConfig === undefined ? undefined : new SlowStart(proto.slowStartConfig);
    const balancer = new HostBalancer(
      (hosts) => {
        if (slow?.active === true)
          return new EdfScheduler(hosts, (host) => host.weight * slow.factor(host), options.random);
        if (equalWeights(hosts)) return new TurnPicker(hosts, options.random);
        return new EdfScheduler(hosts, (host) => host.weight, options.random);
      },
      options,
      readLocalityConfig(proto.localityLbConfig),
    );
    return slow === undefined ? balancer : new WarmingBalancer(balancer, slow);
  },
} satisfies LoadBalancingPolicyExtension;
