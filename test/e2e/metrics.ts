/** Prometheus in the cluster finds the pods by their annotations and ports. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { stringify } from 'yaml';
import { needs } from '../harness/optional_parts.ts';
import { proves } from './diagnosis.ts';
import { program, prometheusImage } from './images.ts';
import { type Pod, apply, ask, kubectl, mesh, plain, read, rolledOut, until } from './kubectl.ts';

/** A target as Prometheus' Kubernetes discovery of role `pod` makes it: one for each port that a container declares. */
interface Target {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

interface Container {
  readonly name: string;
  readonly ports?: readonly { readonly containerPort: number; readonly name?: string }[];
}

/** Debian's Prometheus is built without Kubernetes discovery: this does that part, the rules below are Prometheus' own. */
async function discover(): Promise<Target[]> {
  const { items } = await read<{ items: Pod[] }>(mesh, 'pods');
  const labelName = (text: string): string => text.replaceAll(/[^a-zA-Z0-9_]/g, '_');
  return items.flatMap(({ metadata, spec, status }) => {
    const labels: Record<string, string> = { __meta_kubernetes_pod_name: metadata.name };
    for (const [name, value] of Object.entries(metadata.annotations ?? {}))
      labels[`__meta_kubernetes_pod_annotation_${labelName(name)}`] = value;
    for (const [name, value] of Object.entries(metadata.labels ?? {}))
      labels[`__meta_kubernetes_pod_label_${labelName(name)}`] = value;
    return (spec.containers as readonly Container[]).flatMap(({ name, ports = [] }) =>
      ports.map((port) => ({
        targets: [`${status.podIP}:${port.containerPort}`],
        labels: {
          ...labels,
          __meta_kubernetes_pod_container_name: name,
          __meta_kubernetes_pod_container_port_name: port.name ?? '',
        },
      })),
    );
  });
}

/** The two jobs that Istio's documentation gives Prometheus: annotated pods, and ports named `*-envoy-prom`. */
const configuration = `
global: {scrape_interval: 5s, scrape_timeout: 5s}
scrape_configs:
- job_name: kubernetes-pods
  file_sd_configs: [{files: [/config/targets.json]}]
  relabel_configs:
  - {action: keep, source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true"}
  - {action: replace, source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path], regex: (.+), target_label: __metrics_path__}
  - action: replace
    source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
    regex: ([^:]+)(?::\\d+)?;(\\d+)
    replacement: $1:$2
    target_label: __address__
  - {action: replace, source_labels: [__meta_kubernetes_pod_label_app], target_label: app}
- job_name: envoy-stats
  metrics_path: /stats/prometheus
  file_sd_configs: [{files: [/config/targets.json]}]
  relabel_configs:
  - {action: keep, source_labels: [__meta_kubernetes_pod_container_port_name], regex: .*-envoy-prom}
  - {action: replace, source_labels: [__meta_kubernetes_pod_label_app], target_label: app}
`;

function prometheus(targets: readonly Target[]): string {
  const config = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'prometheus' },
    data: { 'prometheus.yml': configuration, 'targets.json': JSON.stringify(targets) },
  };
  return `
${stringify(config)}---
apiVersion: v1
kind: Service
metadata: {name: prometheus}
spec:
  selector: {app: prometheus}
  ports: [{name: http, port: 9090}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: prometheus}
spec:
  selector: {matchLabels: {app: prometheus}}
  template:
    metadata: {labels: {app: prometheus}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: prometheus
        image: ${prometheusImage}
        args: [--config.file=/config/prometheus.yml, --storage.tsdb.path=/tmp/data]
        ports: [{containerPort: 9090}]
        readinessProbe: {httpGet: {path: /-/ready, port: 9090}, periodSeconds: 2}
        volumeMounts: [{name: config, mountPath: /config}]
      volumes: [{name: config, configMap: {name: prometheus}}]
`;
}

interface Result {
  readonly data: {
    readonly result: readonly {
      readonly metric: Readonly<Record<string, string>>;
      readonly value: [number, string];
    }[];
  };
}

async function query(expression: string): Promise<Result['data']['result']> {
  const [answer] = await ask(
    plain,
    `http://prometheus:9090/api/v1/query?query=${encodeURIComponent(expression)}`,
  );
  assert.equal(answer!.status, 200, answer!.body);
  return (JSON.parse(answer!.body) as Result).data.result;
}

/** Jobs in which an expression finds something above zero. */
async function jobsWith(expression: string): Promise<string[]> {
  const found = await query(`sum by (job) (${expression}) > 0`);
  return found.map(({ metric }) => metric['job'] ?? '').sort();
}

const missing = needs('prometheus', program('prometheus'));

describe('metrics', { skip: missing }, () => {
  proves('Prometheus scrapes 15020 and 15090 through annotations and ports', async () => {
    await apply(plain, prometheus(await discover()));
    await rolledOut(plain, 'prometheus');
    const expected: readonly [expression: string, jobs: readonly string[]][] = [
      ['up{app="app"}', ['envoy-stats', 'kubernetes-pods']],
      ['istio_requests_total{app="app",reporter="destination"}', ['envoy-stats', 'kubernetes-pods']],
      ['e2e_app_requests_total{app="app"}', ['kubernetes-pods']],
      ['istio_agent_scrapes_total{app="app"}', ['kubernetes-pods']],
    ];
    for (const [expression, jobs] of expected) {
      let last: string[] = [];
      await until(`${expression} in ${jobs.join(' and ')}`, async () => {
        await ask(mesh, 'http://app:8080/', 5);
        last = await jobsWith(expression);
        return last.join() === jobs.join() ? true : undefined;
      }).catch(async (error: Error) => {
        const [targets] = await ask(plain, 'http://prometheus:9090/api/v1/targets');
        throw new Error(`${error.message}; found in ${last.join(', ') || 'none'}\n${targets!.body}`, {
          cause: error,
        });
      });
    }
    const ports = await query('count by (instance) (up{app="app"})');
    assert.deepEqual(ports.map(({ metric }) => metric['instance']?.split(':')[1]).sort(), ['15020', '15090']);
    await kubectl(['-n', plain, 'delete', 'deployment', 'prometheus', '--wait=false']);
  });
});
