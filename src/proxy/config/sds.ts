/** Secrets of a worker: static ones of the bootstrap, and those of SDS. */
import { fromBinary } from '@bufbuild/protobuf';
import { type Secret, SecretSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import { typeUrls } from '#xds/type_url.ts';
import type { SecretProvider } from '../network/secret.ts';
import type { SubscriptionPort } from './config_update.ts';
import { NamedResources } from './named_resources.ts';
import { checkSecret } from './secret_check.ts';

export class SecretDiscovery implements SecretProvider {
  readonly resources: NamedResources<Secret>;
  readonly #static = new Map<string, Secret>();

  constructor(port: SubscriptionPort, staticSecrets: readonly Secret[]) {
    for (const secret of staticSecrets) this.#static.set(secret.name, secret);
    this.resources = new NamedResources(typeUrls.sds, port, (bytes) => {
      const secret = fromBinary(SecretSchema, bytes);
      checkSecret(secret);
      return secret;
    });
  }

  /** Secrets that are there, static ones first. */
  all(): Secret[] {
    return [...this.#static.values(), ...this.resources.current()];
  }

  /** @throws Error when a static secret is not there, or for a source that is not supported. */
  get(...[name, source, onChange]: Parameters<SecretProvider['get']>): ReturnType<SecretProvider['get']> {
    if (source !== undefined) return this.resources.get(name, source, onChange);
    const current = this.#static.get(name);
    if (current === undefined) throw new Error(`no static secret named ${name}`);
    return { current, close() {} };
  }
}
