/** EDS: the endpoints of clusters. */
import { create } from '@bufbuild/protobuf';
import {
  type ClusterLoadAssignment,
  ClusterLoadAssignmentSchema,
} from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { parseClusterName } from '#api/cluster_name.ts';
import { localClusterName } from '#api/well_known.ts';
import { effectivePolicy } from '../model/destination_rule_index.ts';
import { endpointsOf } from '../model/endpoint_index.ts';
import { selectorMatches } from '../model/labels.ts';
import type { Proxy } from '../model/proxy.ts';
import { outboundView, proxyLabels } from '../model/proxy_view.ts';
import { memoize, type PushContext } from '../model/push_context.ts';
import { servicePort } from '../model/service.ts';
import { localityAware, zoneAware } from './cluster/load_balancer.ts';
import { buildLoadAssignment } from './endpoint/load_assignment.ts';
import { buildLocalCluster } from './endpoint/local_cluster.ts';
import { type Caller, localityPolicy, zonePolicy } from './endpoint/locality_policy.ts';

function buildAssignment(
  push: PushContext,
  proxy: Proxy,
  caller: Caller,
  name: string,
): ClusterLoadAssignment {
  if (name === localClusterName) return buildLocalCluster(push, proxy);
  const empty = () => create(ClusterLoadAssignmentSchema, { clusterName: name });
  const parts = parseClusterName(name);
  const view = outboundView(push, proxy);
  const service = parts === undefined ? undefined : view.scope.byHostname.get(parts.host);
  const port = service === undefined || parts === undefined ? undefined : servicePort(service, parts.port);
  if (parts === undefined || service === undefined || port === undefined) return empty();
  const rule = view.scope.destinationRule(service, view.labels);
  const subset = rule?.subsets.find((candidate) => candidate.name === parts.subset);
  if (parts.subset !== '' && subset === undefined) return empty();

  const policy = effectivePolicy(rule, subset, port.port);
  const zones = proxy.selfDiscovery ? zoneAware(policy, push.mesh) : undefined;
  const locality = zones === undefined ? localityAware(policy, push.mesh, service) : undefined;
  const key = [
    'endpoints',
    name,
    rule === undefined ? '' : `${rule.from.metadata.namespace}/${rule.from.metadata.name}`,
    service.nodeLocal ? caller.nodeName : '',
    // Which labels decide is up to the rule, so all of them are in the key.
    zones === undefined ? '' : 'zones',
    locality === undefined && zones === undefined ? '' : JSON.stringify(caller),
  ].join(' ');
  return memoize(push, key, () => {
    const endpoints = endpointsOf(push.endpoints, service, port).filter(
      (endpoint) =>
        selectorMatches(subset?.labels, endpoint.labels) &&
        (!service.nodeLocal || endpoint.nodeName === caller.nodeName),
    );
    return buildLoadAssignment(
      name,
      endpoints,
      zones !== undefined
        ? zonePolicy(zones, caller)
        : locality === undefined
          ? undefined
          : localityPolicy(locality, caller),
    );
  });
}

/**
 * The load assignments of the named clusters, in the order asked for; names that the proxy does not see get an empty one.
 * Messages are shared between calls and proxies: do not change them.
 */
export function buildEndpoints(
  proxy: Proxy,
  push: PushContext,
  clusterNames: readonly string[],
): ClusterLoadAssignment[] {
  const caller: Caller = {
    locality: proxy.locality,
    nodeName: proxy.nodeName,
    labels: proxyLabels(push, proxy),
  };
  return clusterNames.map((name) => buildAssignment(push, proxy, caller, name));
}
