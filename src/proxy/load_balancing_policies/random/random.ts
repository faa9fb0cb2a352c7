/** Any host, each with the same chance (envoy.load_balancing_policies.random). Weights of hosts are not looked at. */
import { fromBinary } from '@bufbuild/protobuf';
import { RandomSchema } from '#api/gen/envoy/extensions/load_balancing_policies/random/v3/random_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { LoadBalancingPolicyExtension } from '../../upstream/load_balancer.ts';
import { HostBalancer } from '../host_balancer.ts';
import { readLocalityConfig } from '../locality_config.ts';

export const random = {
  name: 'envoy.load_balancing_policies.random',
  typeUrls: [typeUrlOf(RandomSchema)],
  create(config, options) {
    const proto = fromBinary(RandomSchema, config.value);
    return new HostBalancer(
      (hosts) => ({ pick: () => hosts[Math.floor(options.random() * hosts.length)] }),
      options,
      readLocalityConfig(proto.localityLbConfig),
    );
  },
} satisfies LoadBalancingPolicyExtension;
