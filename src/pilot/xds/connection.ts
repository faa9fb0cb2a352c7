/** One proxy that is connected, and how far it has come with the configuration. */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Caller } from '#security/authn/authenticator.ts';
import type { Peer } from '#xds/transport.ts';
import type { Proxy } from '../model/proxy.ts';

export interface Connection {
  /** `node id-N`, unique in the life of the control plane. */
  readonly id: string;
  readonly node: Node;
  readonly proxy: Proxy;
  readonly peer: Pick<Peer, 'kind' | 'address'>;
  /** Undefined for plaintext without credentials. */
  readonly caller: Caller | undefined;
  /** Milliseconds since the epoch. */
  readonly connectedAt: number;
  /** Every subscribed type has been compared with this generation, and what differed was sent. */
  sentGeneration: number;
  /** All that was sent up to this generation is accepted. */
  liveGeneration: number;
  /** Types, by URL, that could not be generated for this proxy, and why. It keeps what it had of them. */
  readonly failures: Map<string, string>;
}

/** `pod.namespace`, as tables name a proxy. */
export function proxyName(proxy: Proxy): string {
  return `${proxy.podName}.${proxy.namespace}`;
}
