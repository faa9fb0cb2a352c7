/** The agent's SDS: an xDS server over secret sources, for Envoy's socket and for the data plane in this process. */
import { create } from '@bufbuild/protobuf';
import { DataSourceSchema, type DataSource } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { SecretSchema, type Secret } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import type { Logger } from '#base/log.ts';
import { encodeResource } from '#xds/server/encoded_resource.ts';
import { XdsServer } from '#xds/server/server.ts';
import type { ResourceSource, ServedResource } from '#xds/server/source.ts';
import { typeUrls } from '#xds/type_url.ts';
import type { SecretSnapshot, SecretSource } from './secret_source.ts';

function inline(text: string): DataSource {
  return create(DataSourceSchema, { specifier: { case: 'inlineBytes', value: Buffer.from(text, 'utf8') } });
}

/** A secret as Envoy reads it. */
export function toSecret(name: string, snapshot: SecretSnapshot): Secret {
  if (snapshot.kind === 'roots') {
    const value = { trustedCa: inline(snapshot.roots) };
    return create(SecretSchema, { name, type: { case: 'validationContext', value } });
  }
  const value = {
    certificateChain: inline(snapshot.certChain),
    privateKey: inline(snapshot.privateKey),
  };
  return create(SecretSchema, { name, type: { case: 'tlsCertificate', value } });
}

/** One connected data plane. */
interface SdsClient {
  readonly asked: Set<string>;
}

/** Joins secret sources and an xDS server; changes are pushed to the clients that asked for the name. */
export class SdsServer {
  /** Takes streams: hand it to a memory transport or a gRPC server. */
  readonly acceptor: XdsServer<SdsClient, true>;
  readonly #sources: readonly SecretSource[];
  readonly #unsubscribe: (() => void)[];

  constructor(sources: readonly SecretSource[], log: Logger) {
    this.#sources = sources;
    this.acceptor = new XdsServer({
      source: this.#resources(),
      identifier: 'pilot-agent',
      log: log.scope('sds'),
    });
    this.#unsubscribe = sources.map((source) => source.subscribe((names) => this.#push(names)));
  }

  close(): void {
    for (const end of this.#unsubscribe) end();
    this.acceptor.close();
  }

  #find(name: string): ServedResource | undefined {
    for (const source of this.#sources) {
      const snapshot = source.get(name);
      if (snapshot !== undefined) return encodeResource(SecretSchema, name, toSecret(name, snapshot));
    }
    return undefined;
  }

  #push(names: readonly string[]): void {
    for (const client of this.acceptor.clients) {
      if (names.some((name) => client.asked.has(name))) void this.acceptor.push(client, [typeUrls.sds], true);
    }
  }

  #resources(): ResourceSource<SdsClient, true> {
    return {
      open: () => ({ asked: new Set() }),
      close: () => {},
      mergePushes: () => true,
      onSubscribe: (client, subscription) => {
        client.asked.clear();
        for (const name of subscription.names) {
          client.asked.add(name);
          for (const source of this.#sources) source.request?.(name);
        }
      },
      generate: (_client, typeUrl, subscription) => {
        if (typeUrl !== typeUrls.sds) return undefined;
        const resources = [...subscription.names]
          .map((name) => this.#find(name))
          .filter((resource) => resource !== undefined);
        // A secret that is not there yet is sent when it comes: an answer without it would end Envoy's wait.
        if (resources.length === 0) return undefined;
        return { version: resources.map(({ version }) => version).join('-'), resources, full: false };
      },
    };
  }
}
