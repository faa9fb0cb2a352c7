/** What the cases put into the cluster, beside the samples. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toolsImage } from './images.ts';
import { mesh } from './kubectl.ts';

const samples = join(import.meta.dirname, '..', '..', 'samples');

/** A file of `samples/`, for the namespace of the suite: without its Namespace, and its principals in ours. */
export function sample(path: string): string {
  return readFileSync(join(samples, path), 'utf8')
    .split(/^---$/m)
    .filter((document) => !/^kind: Namespace$/m.test(document))
    .join('---\n')
    .replaceAll('/ns/default/', `/ns/${mesh}/`);
}

/** A pod named `client`, in which requests are made. */
export const client = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: client}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  serviceAccountName: client
  terminationGracePeriodSeconds: 5
  containers:
  - name: client
    image: ${toolsImage}
    command: [node, -e, "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1e6)"]
`;

/**
 * A Deployment and a Service of `pod/app.ts` on port 8080, with probes and metrics. What the API server would fill in and
 * the sidecar copies (protocol, scheme) is written out: `kube-inject` sees the manifest before that, the webhook after.
 */
export function app(name: string, replicas = 1): string {
  return `
apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec:
  selector: {app: ${name}}
  ports: [{name: http, port: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata:
      labels: {app: ${name}, version: v1}
      annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080", prometheus.io/path: /metrics}
    spec:
      containers:
      - name: app
        image: ${toolsImage}
        command: [node, /pod/app.ts, "8080"]
        ports: [{containerPort: 8080, protocol: TCP}]
        readinessProbe:
          httpGet: {path: /healthz, port: 8080, scheme: HTTP, httpHeaders: [{name: x-probe, value: readiness}]}
          periodSeconds: 2
          timeoutSeconds: 5
        livenessProbe:
          tcpSocket: {port: 8080}
          periodSeconds: 10
          timeoutSeconds: 10
`;
}

/** A pod that shows its packet filter: the sidecar's image has iptables, the container has the right to use it. */
export function ruleViewer(name: string, image: string): string {
  return `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}}
spec:
  terminationGracePeriodSeconds: 5
  containers:
  - name: show
    image: ${image}
    command: [node, -e, "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1e6)"]
    securityContext: {runAsUser: 0, runAsNonRoot: false, capabilities: {add: [NET_ADMIN, NET_RAW]}}
`;
}

/** MeshConfig of [File 3]. */
export const accessLogMesh = 'accessLogFile: /dev/stdout\n';

/** A Telemetry that turns the access log on: [File 4] with another selector or none. */
export function telemetry(app?: string): string {
  const selector = app === undefined ? '' : `  selector:\n    matchLabels:\n      app: ${app}\n`;
  return `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata:
  name: mesh-default
spec:
${selector}  accessLogging:
    - providers:
      - name: envoy
`;
}

/** PeerAuthentication of a whole namespace. */
export const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
`;
