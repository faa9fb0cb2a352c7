/** Authorization of a workload as filters of its chains. */
import { create } from '@bufbuild/protobuf';
import { type Filter, FilterSchema } from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import {
  type HttpFilter,
  HttpFilterSchema,
} from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { policiesFor } from '../../model/authorization_policy_index.ts';
import type { Labels } from '../../model/labels.ts';
import { trustDomains } from '../../model/mesh_index.ts';
import { memoize, type PushContext } from '../../model/push_context.ts';
import { customFilters } from '../authorization/custom_filters.ts';
import { type AuthorizationFilter, rbacFilters } from '../authorization/rbac_filters.ts';
import type { AuthorizationProtocol } from '../authorization/rule.ts';

function build(
  push: PushContext,
  namespace: string,
  labels: Labels,
  protocol: AuthorizationProtocol,
): AuthorizationFilter[] {
  const policies = policiesFor(push.authorizationPolicies, namespace, labels);
  const domains = trustDomains(push.mesh);
  const custom = customFilters({
    policies: policies.CUSTOM,
    providers: push.mesh.config.extensionProviders ?? [],
    hasService: (hostname, owner) => {
      const service = push.services.byHostname.get(hostname);
      return service !== undefined && (owner ?? service.namespace) === service.namespace;
    },
    trustDomains: domains,
    protocol,
  });
  // What is denied or allowed here may depend on what the service outside has set.
  return [...custom, ...rbacFilters(policies, domains, protocol)];
}

/** Filters of HTTP chains. */
export function httpAuthorization(
  push: PushContext,
  namespace: string,
  labels: Labels,
): readonly HttpFilter[] {
  return memoize(push, `http authorization ${namespace} ${JSON.stringify(labels)}`, () =>
    build(push, namespace, labels, 'http').map(({ name, typedConfig }) =>
      create(HttpFilterSchema, { name, configType: { case: 'typedConfig', value: typedConfig } }),
    ),
  );
}

/** Filters of TCP chains. */
export function tcpAuthorization(push: PushContext, namespace: string, labels: Labels): readonly Filter[] {
  return memoize(push, `tcp authorization ${namespace} ${JSON.stringify(labels)}`, () =>
    build(push, namespace, labels, 'tcp').map(({ name, typedConfig }) =>
      create(FilterSchema, { name, configType: { case: 'typedConfig', value: typedConfig } }),
    ),
  );
}
