/** Template `grpc-agent`: the agent without a proxy, for applications that speak xDS themselves. */
import { type InjectionContext, statusPort } from '../context.ts';
import { canonicalLabels, revisionAnnotations } from '../pod_metadata.ts';
import type { Container, PodOverlay, Probe } from '../pod/types.ts';
import { sidecarImage } from '../proxy_image.ts';
import { proxyArgs } from '../sidecar/args.ts';
import {
  certificateAuthority,
  cluster,
  description,
  fieldVariable,
  identity,
  proxyMetadata,
  variable,
  workload,
} from '../sidecar/env.ts';
import { proxyProbes } from '../sidecar/probes.ts';
import { pullPolicy } from '../sidecar/pull_policy.ts';
import { proxyResources } from '../sidecar/resources.ts';
import { grpcAgentMounts, grpcAgentVolumes } from '../volumes.ts';
import { pullSecrets } from './sidecar.ts';

const certificates = '/var/lib/istio/data';

function agentProbe(context: InjectionContext, port: number): { readonly readinessProbe?: Probe } {
  const { readinessProbe } = proxyProbes(context);
  if (readinessProbe === undefined) return {};
  return { readinessProbe: { ...readinessProbe, httpGet: { path: '/healthz/ready', port } } };
}

function agent(context: InjectionContext): Container {
  const port = Number(statusPort(context));
  return {
    args: proxyArgs(context),
    env: [
      variable('ISTIO_META_GENERATOR', 'grpc'),
      variable('OUTPUT_CERTS', certificates),
      ...certificateAuthority(context),
      ...identity,
      ...description(context),
      cluster(context),
      fieldVariable('ISTIO_META_NODE_NAME', 'spec.nodeName'),
      ...workload(context),
      ...proxyMetadata(context),
      // No proxy: names are resolved by the application.
      variable('ISTIO_META_DNS_CAPTURE', 'false'),
      variable('DISABLE_ENVOY', 'true'),
    ],
    image: sidecarImage(context),
    ...pullPolicy(context),
    lifecycle: {
      postStart: {
        exec: { command: ['pilot-agent', 'wait', `--url=http://localhost:${port}/healthz/ready`] },
      },
    },
    name: 'istio-proxy',
    ports: [{ containerPort: port, name: 'mesh-metrics', protocol: 'TCP' }],
    ...agentProbe(context, port),
    resources: proxyResources(context),
    volumeMounts: grpcAgentMounts(context),
  };
}

/** What an application needs to find the agent. */
function application(name: string): Container {
  return {
    env: [
      variable('GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT', 'true'),
      variable('GRPC_XDS_BOOTSTRAP', '/etc/istio/proxy/grpc-bootstrap.json'),
    ],
    name,
    volumeMounts: [
      { mountPath: certificates, name: 'istio-data' },
      { mountPath: '/etc/istio/proxy', name: 'istio-xds' },
      { mountPath: '/var/run/secrets/workload-spiffe-credentials', name: 'workload-certs' },
    ],
  };
}

/** The overlay; every container of the pod takes part. */
export function grpcAgentTemplate(context: InjectionContext): PodOverlay {
  const names = (context.spec.containers ?? [])
    .map(({ name }) => name)
    .filter((name) => name !== 'istio-proxy');
  return {
    metadata: {
      annotations: {
        ...revisionAnnotations(context),
        'sidecar.istio.io/rewriteAppHTTPProbers': 'false',
      },
      labels: canonicalLabels(context),
    },
    spec: {
      containers: [agent(context), ...names.map(application)],
      volumes: grpcAgentVolumes(context),
      ...pullSecrets(context),
    },
  };
}
