/** The simplest source: the same resources for every client, replaced by type. */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Peer } from '../transport.ts';
import type { Generated, ResourceSource, ServedResource, Subscription } from './source.ts';

/** One open stream. */
export interface SnapshotClient {
  readonly node: Node;
  readonly peer: Peer;
}

export class SnapshotSource implements ResourceSource<SnapshotClient, undefined> {
  readonly #types = new Map<string, { version: number; resources: readonly ServedResource[] }>();

  /** Replaces all resources of a type. Clients hear of it with the next `XdsServer.push`. */
  set(typeUrl: string, resources: readonly ServedResource[]): void {
    this.#types.set(typeUrl, { version: (this.#types.get(typeUrl)?.version ?? 0) + 1, resources });
  }

  open(node: Node, peer: Peer): SnapshotClient {
    return { node, peer };
  }

  generate(
    _client: SnapshotClient,
    typeUrl: string,
    { wildcard, names }: Subscription,
  ): Generated | undefined {
    const type = this.#types.get(typeUrl);
    if (type === undefined) return undefined;
    const resources = type.resources.filter(({ name }) => wildcard || names.has(name));
    return { version: String(type.version), resources };
  }

  mergePushes(): undefined {
    return undefined;
  }

  close(): void {}
}
