/**
 * Everything that one push is made from: a record of immutable indices. There is no order of initialisation to know: each
 * index names the kinds it is made of and the indices it reads, and is kept from the previous context when none of them
 * changed.
 */
import type { ConfigChange, ConfigStore } from '#config/store/store.ts';
import {
  type AuthorizationPolicyIndex,
  buildAuthorizationPolicyIndex,
} from './authorization_policy_index.ts';
import { buildDestinationRuleIndex, type DestinationRuleIndex } from './destination_rule_index.ts';
import { buildEndpointIndex, type EndpointIndex, endpointKinds, needsFullPush } from './endpoint_index.ts';
import { buildGatewayIndex, type GatewayIndex } from './gateway_index.ts';
import { buildMeshIndex, type MeshIndex, type MeshOptions } from './mesh_index.ts';
import { buildPeerAuthenticationIndex, type PeerAuthenticationIndex } from './peer_authentication_index.ts';
import { buildServiceIndex, serviceKinds, type ServiceIndex } from './service_index.ts';
import { buildSidecarIndex, type SidecarIndex } from './sidecar_index.ts';
import { buildTelemetryIndex, type TelemetryIndex } from './telemetry_index.ts';
import { buildVirtualServiceIndex, type VirtualServiceIndex } from './virtual_service_index.ts';

/** What one push is made from. */
export interface PushContext {
  readonly mesh: MeshIndex;
  readonly services: ServiceIndex;
  readonly endpoints: EndpointIndex;
  readonly virtualServices: VirtualServiceIndex;
  readonly destinationRules: DestinationRuleIndex;
  readonly gateways: GatewayIndex;
  readonly peerAuthentications: PeerAuthenticationIndex;
  readonly authorizationPolicies: AuthorizationPolicyIndex;
  readonly telemetries: TelemetryIndex;
  readonly sidecars: SidecarIndex;
  /** True when only EDS differs from the previous context: pushing endpoints is enough. */
  readonly endpointsOnly: boolean;
  /** Kinds that changed since the previous context; undefined when there was none. */
  readonly changedKinds: ReadonlySet<string> | undefined;
  /** Results that several proxies share, for the life of this context. Only `memoize` touches it. */
  readonly memo: Map<string, unknown>;
}

/**
 * A result that is the same for all who give the same key. The key must name all that `make` reads besides the context:
 * builders keep to that by taking a view made from the key's parts, never the proxy.
 */
export function memoize<T>(push: PushContext, key: string, make: () => T): T {
  const present = push.memo.get(key);
  if (present !== undefined) return present as T;
  const value = make();
  push.memo.set(key, value);
  return value;
}

/**
 * Builds the context of a push.
 * @param previous The context before, whose indices are kept where nothing they read has changed.
 * @param changes All changes of the store since `previous`; without them everything is built anew.
 * @param options What the control plane was started with; kept from `previous` when left out.
 */
export function buildPushContext(
  store: ConfigStore,
  previous?: PushContext,
  changes?: readonly ConfigChange[],
  options?: MeshOptions,
): PushContext {
  const kinds = changes === undefined ? undefined : new Set(changes.map(({ resource }) => resource.kind));
  /** Whether any of the kinds changed; true when nothing is known of the changes. */
  const changed = (...names: readonly string[]) =>
    previous === undefined || kinds === undefined || names.some((name) => kinds.has(name));

  const meshOptions = options ?? previous?.mesh.options ?? {};
  const readMesh = () => {
    const mesh = buildMeshIndex(store, meshOptions);
    // ConfigMaps change often (leases, application data); the mesh's seldom does.
    const same = previous !== undefined && JSON.stringify(previous.mesh) === JSON.stringify(mesh);
    return same ? previous.mesh : mesh;
  };
  const mesh = previous === undefined || changed('ConfigMap') ? readMesh() : previous.mesh;
  const meshChanged = mesh !== previous?.mesh;

  function keep<T>(kept: T | undefined, dirty: boolean, build: () => T): T {
    return kept === undefined || dirty || meshChanged ? build() : kept;
  }

  const services = keep(previous?.services, changed(...serviceKinds), () => buildServiceIndex(store, mesh));
  const endpoints = keep(
    previous?.endpoints,
    services !== previous?.services || changed(...endpointKinds),
    () =>
      meshChanged
        ? buildEndpointIndex(store, mesh, services)
        : buildEndpointIndex(store, mesh, services, previous?.endpoints, changes),
  );
  const indices = {
    mesh,
    services,
    endpoints,
    virtualServices: keep(previous?.virtualServices, changed('VirtualService'), () =>
      buildVirtualServiceIndex(store, mesh),
    ),
    destinationRules: keep(previous?.destinationRules, changed('DestinationRule'), () =>
      buildDestinationRuleIndex(store, mesh),
    ),
    gateways: keep(previous?.gateways, changed('Gateway'), () => buildGatewayIndex(store)),
    peerAuthentications: keep(previous?.peerAuthentications, changed('PeerAuthentication'), () =>
      buildPeerAuthenticationIndex(store, mesh),
    ),
    authorizationPolicies: keep(previous?.authorizationPolicies, changed('AuthorizationPolicy'), () =>
      buildAuthorizationPolicyIndex(store, mesh),
    ),
    telemetries: keep(previous?.telemetries, changed('Telemetry'), () => buildTelemetryIndex(store, mesh)),
    sidecars: keep(previous?.sidecars, changed('Sidecar'), () => buildSidecarIndex(store, mesh)),
  };
  const endpointsOnly =
    previous !== undefined &&
    kinds !== undefined &&
    kinds.size > 0 &&
    [...kinds].every((kind) => endpointKinds.includes(kind)) &&
    !needsFullPush(previous.endpoints, endpoints, services);
  return { ...indices, endpointsOnly, changedKinds: kinds, memo: new Map() };
}
