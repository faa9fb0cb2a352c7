/** State of the world: the proxy repeats all names in each request, so the last one says everything. */
import { create } from '@bufbuild/protobuf';
import {
  DiscoveryRequestSchema,
  type DiscoveryRequest,
  type DiscoveryResponse,
} from '#api/gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { allowsLegacyWildcard } from '#xds/type_url.ts';
import { maxTypes, type RelayState, type Tracked } from './relay_state.ts';

interface TypeState {
  names: readonly string[];
  /** Version that the proxy has accepted. */
  version: string;
  /** Nonce of the last response on the current stream; empty before the first. */
  nonce: string;
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

export class SotwRelayState implements RelayState<'sotw'> {
  readonly #types = new Map<string, TypeState>();
  #node: Node | undefined;

  track(request: DiscoveryRequest): Tracked<'sotw'> {
    this.#node = request.node ?? this.#node;
    const { typeUrl, responseNonce, resourceNames, versionInfo } = request;
    const known = this.#types.get(typeUrl);
    if (known === undefined && this.#types.size >= maxTypes) return { forward: undefined, answer: 'none' };
    const state = known ?? { names: [], version: '', nonce: '' };
    this.#types.set(typeUrl, state);
    const changed = known === undefined || !sameNames(state.names, resourceNames);
    state.names = resourceNames;
    state.version = versionInfo;
    if (responseNonce === '') return { forward: request, answer: 'none' };
    const answer = request.errorDetail === undefined ? 'ack' : 'nack';
    if (responseNonce === state.nonce) return { forward: request, answer };
    // The nonce is of a stream that has ended, or of a response that a newer one follows. The answer to the newer one
    // will repeat the names; without a newer one a change of names must not be lost.
    const lost = state.nonce !== '' || !changed;
    return { forward: lost ? undefined : { ...request, responseNonce: '' }, answer };
  }

  onResponse(response: DiscoveryResponse): void {
    const state = this.#types.get(response.typeUrl);
    if (state !== undefined) state.nonce = response.nonce;
  }

  onUpstreamLost(): void {
    for (const state of this.#types.values()) state.nonce = '';
  }

  resume(): DiscoveryRequest[] {
    const requests: DiscoveryRequest[] = [];
    for (const [typeUrl, { names, version }] of this.#types) {
      // An empty list of a type that is asked for by name means that nothing is asked for any more.
      if (names.length === 0 && !allowsLegacyWildcard(typeUrl)) continue;
      const node = requests.length === 0 && this.#node !== undefined ? { node: this.#node } : {};
      requests.push(
        create(DiscoveryRequestSchema, { ...node, typeUrl, resourceNames: [...names], versionInfo: version }),
      );
    }
    return requests;
  }

  subscribeAll(typeUrl: string): DiscoveryRequest {
    return create(DiscoveryRequestSchema, { typeUrl });
  }

  answer(response: DiscoveryResponse, error: string | undefined): DiscoveryRequest {
    const { typeUrl, versionInfo, nonce } = response;
    return create(DiscoveryRequestSchema, {
      typeUrl,
      responseNonce: nonce,
      versionInfo: error === undefined ? versionInfo : (this.#types.get(typeUrl)?.version ?? ''),
      ...(error === undefined ? {} : { errorDetail: { code: 13, message: error } }),
    });
  }
}
