/** Where transport sockets get certificates and trust from: SDS or static secrets, implemented by `config/`. */
import type { ConfigSource } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import type { Secret } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';

/** A live secret; a new version replaces `current`. */
export interface LiveSecret {
  /** Undefined until it was delivered for the first time. */
  readonly current: Secret | undefined;
  /** Gives up the subscription. */
  close(): void;
}

export interface SecretProvider {
  /**
   * Subscribes to a secret. Equal names and sources share one stream behind it.
   * @param source `SdsSecretConfig.sds_config`; undefined names a static secret of the bootstrap.
   * @param onChange called after each change of `current`, never inside this call. What it throws refuses the new secret by
   * name; `current` is then the old one again and `onChange` is called once more.
   */
  get(name: string, source: ConfigSource | undefined, onChange: () => void): LiveSecret;
}

/** A provider for configurations whose secrets are all inline: every name stays undelivered. */
export const noSecrets: SecretProvider = {
  get: () => ({ current: undefined, close() {} }),
};
