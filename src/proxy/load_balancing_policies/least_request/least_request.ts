/**
 * The host with fewer requests in flight of a few that are drawn (envoy.load_balancing_policies.least_request). With
 * different weights: turns in proportion to weight / (requests + 1) ^ bias.
 */
import { fromBinary } from '@bufbuild/protobuf';
import {
  LeastRequestSchema,
  LeastRequest_SelectionMethod as SelectionMethod,
} from '#api/gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { LoadBalancingPolicyExtension } from '../../upstream/load_balancer.ts';
import type { Host } from '../../upstream/upstream.ts';
import { EdfScheduler } from '../edf_scheduler.ts';
import { HostBalancer, equalWeights } from '../host_balancer.ts';
import type { HostPicker } from '../host_picker.ts';
import { readLocalityConfig } from '../locality_config.ts';
import { SlowStart } from '../slow_start.ts';
import { WarmingBalancer } from '../warming_balancer.ts';

/** Draws `choices` hosts and takes the least loaded. */
class ChoicePicker implements HostPicker {
  readonly #hosts: readonly Host[];
  readonly #choices: number;
  readonly #random: () => number;

  constructor(hosts: readonly Host[], choices: number, random: () => number) {
    this.#hosts = hosts;
    this.#choices = choices;
    this.#random = random;
  }

  pick(): Host | undefined {
    const hosts = this.#hosts;
    const { length } = hosts;
    if (length <= 1) return hosts[0];
    let best = hosts[Math.floor(this.#random() * length)] as Host;
    for (let i = 1; i < this.#choices; i++) {
      const other = hosts[Math.floor(this.#random() * length)] as Host;
      if (other.activeRequests < best.activeRequests) best = other;
    }
    return best;
  }
}

/** Looks at every host; among equals one by chance. */
class ScanPicker implements HostPicker {
  readonly #hosts: readonly Host[];
  readonly #random: () => number;

  constructor(hosts: readonly Host[], random: () => number) {
    this.#hosts = hosts;
    this.#random = random;
  }

  pick(): Host | undefined {
    let best: Host | undefined;
    let equals = 0;
    for (const host of this.#hosts) {
      if (best === undefined || host.activeRequests < best.activeRequests) {
        best = host;
        equals = 1;
      } else if (host.activeRequests === best.activeRequests && this.#random() * ++equals < 1) best = host;
    }
    return best;
  }
}

export const leastRequest = {
  name: 'envoy.load_balancing_policies.least_request',
  typeUrls: [typeUrlOf(LeastRequestSchema)],
  create(config, options) {
    const proto = fromBinary(LeastRequestSchema, config.value);
    const choices = Math.max(proto.choiceCount ?? 2, 2);
    const bias = proto.activeRequestBias?.defaultValue ?? 1;
    const scan = proto.selectionMethod === SelectionMethod.FULL_SCAN || proto.enableFullScan === true;
    const slow = proto.slowStartConfig === undefined ? undefined : new SlowStart(proto.slowStartConfig);
    const weightOf = (host: Host): number => {
      const weight = slow === undefined ? host.weight : host.weight * slow.factor(host);
      return weight / (host.activeRequests + 1) ** bias;
    };
    const balancer = new HostBalancer(
      (hosts) => {
        if (slow?.active === true || !equalWeights(hosts))
          return new EdfScheduler(hosts, weightOf, options.random);
        return scan
          ? new ScanPicker(hosts, options.random)
          : new ChoicePicker(hosts, choices, options.random);
      },
      options,
      readLocalityConfig(proto.localityLbConfig),
    );
    return slow === undefined ? balancer : new WarmingBalancer(balancer, slow);
  },
} satisfies LoadBalancingPolicyExtension;
