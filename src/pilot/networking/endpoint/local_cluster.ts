/**
 * The endpoints of the workload that a proxy itself is part of (Istio `ISTIO_META_ENABLE_SELF_DISCOVERY`): by them zone-aware
 * balancing knows how callers spread over zones.
 */
import { create } from '@bufbuild/protobuf';
import {
  type ClusterLoadAssignment,
  ClusterLoadAssignmentSchema,
} from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { localClusterName } from '#api/well_known.ts';
import { endpointsOf, findPod } from '../../model/endpoint_index.ts';
import type { Proxy } from '../../model/proxy.ts';
import { proxyLabels } from '../../model/proxy_view.ts';
import type { PushContext } from '../../model/push_context.ts';
import { serviceTargets } from '../../model/service_target.ts';
import type { Endpoint } from '../../model/service.ts';
import { buildLoadAssignment } from './load_assignment.ts';

/** Labels that tell the revisions of one workload apart. */
const revisionLabels = ['pod-template-hash', 'rollouts-pod-template-hash'] as const;

function workloadName(workload: string): string {
  return workload.split(';', 1)[0] ?? '';
}

/** Endpoints of the first service that chooses the proxy: those of its region, workload and revision. */
export function buildLocalCluster(push: PushContext, proxy: Proxy): ClusterLoadAssignment {
  const [target] = serviceTargets(push, proxy);
  if (target === undefined) return create(ClusterLoadAssignmentSchema, { clusterName: localClusterName });
  const all = endpointsOf(push.endpoints, target.service, target.port);
  const labels = proxyLabels(push, proxy);
  const own = all.find(({ address }) => proxy.ipAddresses.includes(address));
  const pod = findPod(push.endpoints, proxy.namespace, proxy.podName, proxy.ipAddresses);
  const region = proxy.locality.region || own?.locality.region || '';
  const workload = workloadName(own?.workload ?? '');
  const belongs = (endpoint: Endpoint): boolean =>
    endpoint.locality.region === region &&
    (pod === undefined || workload === '' || workloadName(endpoint.workload) === workload) &&
    revisionLabels.every((key) => labels[key] === undefined || endpoint.labels[key] === labels[key]);
  return buildLoadAssignment(localClusterName, all.filter(belongs), undefined);
}
