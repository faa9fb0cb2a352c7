/** Where clusters of type EDS get their endpoints from, implemented by `config/`: the counterpart of `network/secret.ts`. */
import type { ConfigSource } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import type { ClusterLoadAssignment } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';

/** A live assignment; a new version replaces `current`. */
export interface LiveEndpoints {
  /** Undefined until it was delivered for the first time, and again when the server took it away. */
  readonly current: ClusterLoadAssignment | undefined;
  /**
   * True when warming need not wait any longer: it was delivered, the server said that there is none, or
   * `initial_fetch_timeout` has passed.
   */
  readonly settled: boolean;
  /** Gives up the subscription. */
  close(): void;
}

export interface EndpointProvider {
  /**
   * Subscribes to an assignment. Equal names and sources share one subscription.
   * @param name `EdsClusterConfig.service_name`, else the cluster's name.
   * @param onChange called after each change of `current` or `settled`, never inside this call. What it throws refuses the
   * new assignment by name; `current` is then the old one again and `onChange` is called once more.
   */
  get(name: string, source: ConfigSource | undefined, onChange: () => void): LiveEndpoints;
}
