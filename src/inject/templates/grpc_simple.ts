/** Template `grpc-simple`: a gRPC bootstrap file and nothing else; plaintext to the control plane. */
import type { InjectionContext } from '../context.ts';
import type { Container, PodOverlay } from '../pod/types.ts';
import { fieldVariable, variable } from '../sidecar/env.ts';

const volume = 'grpc-io-proxyless-bootstrap';
const folder = '/var/lib/grpc/data/';
const bootstrapFile = '/var/lib/grpc/data/bootstrap.json';
const volumeMounts = [{ mountPath: folder, name: volume }] as const;

/** Writes the bootstrap: the node as Istio names it, and the control plane's plaintext port. */
function script(clusterDomain: string): string {
  return `NODE_ID="sidecar~\${INSTANCE_IP}~\${POD_NAME}.\${POD_NAMESPACE}~${clusterDomain}"
SERVER_URI="dns:///istiod.\${ISTIO_NAMESPACE}.svc:15010"
echo '
{
  "xds_servers": [
    {
      "server_uri": "'\${SERVER_URI}'",
      "channel_creds": [{"type": "insecure"}],
      "server_features" : ["xds_v3"]
    }
  ],
  "node": {
    "id": "'\${NODE_ID}'",
    "metadata": {
      "GENERATOR": "grpc"
    }
  }
}' > ${bootstrapFile}`;
}

function application(name: string): Container {
  return {
    env: [
      variable('GRPC_XDS_BOOTSTRAP', bootstrapFile),
      variable('GRPC_GO_LOG_VERBOSITY_LEVEL', '99'),
      variable('GRPC_GO_LOG_SEVERITY_LEVEL', 'info'),
    ],
    name,
    volumeMounts,
  };
}

/** The overlay; every container of the pod takes part. */
export function grpcSimpleTemplate({ values, spec }: InjectionContext): PodOverlay {
  const { istioNamespace, proxy } = values.global;
  return {
    metadata: { annotations: { 'sidecar.istio.io/rewriteAppHTTPProbers': 'false' } },
    spec: {
      containers: (spec.containers ?? []).map(({ name }) => application(name)),
      initContainers: [
        {
          command: ['sh', '-c', script(proxy.clusterDomain)],
          env: [
            fieldVariable('INSTANCE_IP', 'status.podIP'),
            fieldVariable('POD_NAME', 'metadata.name'),
            fieldVariable('POD_NAMESPACE', 'metadata.namespace'),
            variable('ISTIO_NAMESPACE', `${istioNamespace}\n`),
          ],
          image: 'busybox:1.28',
          name: 'grpc-bootstrap-init',
          volumeMounts,
        },
      ],
      volumes: [{ emptyDir: {}, name: volume }],
    },
  };
}
