/** Incremental: names and accepted versions are added up from the differences that pass by. */
import { create } from '@bufbuild/protobuf';
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '#api/gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { allowsLegacyWildcard } from '#xds/type_url.ts';
import { maxTypes, maxUnanswered, type RelayState, type Tracked } from './relay_state.ts';

/** What a response changes once the proxy accepts it. */
interface Unanswered {
  readonly versions: readonly (readonly [name: string, version: string])[];
  readonly removed: readonly string[];
  /** Whether it came on the stream that is open now. */
  current: boolean;
}

interface TypeState {
  /** The first request named nothing, which asks for everything. */
  implicitWildcard: boolean;
  readonly names: Set<string>;
  /** Accepted by the proxy. */
  readonly versions: Map<string, string>;
  readonly unanswered: Map<string, Unanswered>;
}

export class DeltaRelayState implements RelayState<'delta'> {
  readonly #types = new Map<string, TypeState>();
  #node: Node | undefined;

  track(request: DeltaDiscoveryRequest): Tracked<'delta'> {
    this.#node = request.node ?? this.#node;
    const { typeUrl, responseNonce } = request;
    let state = this.#types.get(typeUrl);
    if (state === undefined) {
      if (this.#types.size >= maxTypes) return { forward: undefined, answer: 'none' };
      state = this.#open(request);
    }
    this.#changeNames(state, request);
    if (responseNonce === '') return { forward: request, answer: 'none' };

    const accepted = request.errorDetail === undefined;
    const response = state.unanswered.get(responseNonce);
    state.unanswered.delete(responseNonce);
    if (accepted && response !== undefined) {
      for (const [name, version] of response.versions) state.versions.set(name, version);
      for (const name of response.removed) state.versions.delete(name);
    }
    const answer = accepted ? 'ack' : 'nack';
    if (response?.current === true) return { forward: request, answer };
    const changes = request.resourceNamesSubscribe.length + request.resourceNamesUnsubscribe.length > 0;
    const { errorDetail: _, ...rest } = request;
    return { forward: changes ? { ...rest, responseNonce: '' } : undefined, answer };
  }

  onResponse(response: DeltaDiscoveryResponse): void {
    const state = this.#types.get(response.typeUrl);
    if (state === undefined) return;
    const [oldest] = state.unanswered.keys();
    if (oldest !== undefined && state.unanswered.size >= maxUnanswered) state.unanswered.delete(oldest);
    state.unanswered.set(response.nonce, {
      versions: response.resources.map(({ name, version }) => [name, version] as const),
      removed: response.removedResources,
      current: true,
    });
  }

  onUpstreamLost(): void {
    for (const state of this.#types.values()) {
      for (const response of state.unanswered.values()) response.current = false;
    }
  }

  resume(): DeltaDiscoveryRequest[] {
    const requests: DeltaDiscoveryRequest[] = [];
    for (const [typeUrl, { implicitWildcard, names, versions }] of this.#types) {
      if (!implicitWildcard && names.size === 0) continue;
      const node = requests.length === 0 && this.#node !== undefined ? { node: this.#node } : {};
      // Once names stand beside it, the wildcard must be written out.
      const subscribe = implicitWildcard && names.size > 0 ? ['*', ...names] : [...names];
      requests.push(
        create(DeltaDiscoveryRequestSchema, {
          ...node,
          typeUrl,
          resourceNamesSubscribe: subscribe,
          initialResourceVersions: Object.fromEntries(versions),
        }),
      );
    }
    return requests;
  }

  subscribeAll(typeUrl: string): DeltaDiscoveryRequest {
    return create(DeltaDiscoveryRequestSchema, { typeUrl });
  }

  answer(response: DeltaDiscoveryResponse, error: string | undefined): DeltaDiscoveryRequest {
    return create(DeltaDiscoveryRequestSchema, {
      typeUrl: response.typeUrl,
      responseNonce: response.nonce,
      ...(error === undefined ? {} : { errorDetail: { code: 13, message: error } }),
    });
  }

  #open(request: DeltaDiscoveryRequest): TypeState {
    const state: TypeState = {
      implicitWildcard: request.resourceNamesSubscribe.length === 0 && allowsLegacyWildcard(request.typeUrl),
      names: new Set(),
      versions: new Map(Object.entries(request.initialResourceVersions)),
      unanswered: new Map(),
    };
    this.#types.set(request.typeUrl, state);
    return state;
  }

  #changeNames(state: TypeState, request: DeltaDiscoveryRequest): void {
    for (const name of request.resourceNamesSubscribe) state.names.add(name);
    for (const name of request.resourceNamesUnsubscribe) {
      state.names.delete(name);
      if (name === '*') {
        state.implicitWildcard = false;
        for (const held of state.versions.keys()) if (!state.names.has(held)) state.versions.delete(held);
      } else if (!state.implicitWildcard && !state.names.has('*')) state.versions.delete(name);
    }
  }
}
