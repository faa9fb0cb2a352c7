/**
 * One port for Prometheus: the pod's `prometheus.io/*` annotations go to the agent, and in their place stand those of
 * the agent's page, which holds metrics of application and proxy.
 */
import type { EffectiveMeshConfig } from '#config/mesh_config/defaults.ts';
import { parseBool } from './annotations.ts';
import type { Container, EnvVar, Pod } from './pod/types.ts';

type Annotations = Readonly<Record<string, string>>;

/** A page of metrics of the application. */
export interface ScrapeTarget {
  readonly port: string;
  readonly path: string;
}

/** What the agent is told to scrape; targets are null when the annotation is not there. */
export interface ScrapeConfiguration {
  readonly scrape: string;
  readonly port: string;
  readonly path: string;
  readonly targets: readonly ScrapeTarget[] | null;
}

/** Ports of the sidecar that are no page of an application. 15020 is the agent's own, which it leaves out itself. */
const reservedPorts = new Set([
  '15000',
  '15001',
  '15002',
  '15004',
  '15006',
  '15008',
  '15021',
  '15053',
  '15090',
]);
const targetsAnnotation = 'prometheus.istio.io/scrape-targets';
const securePortAnnotation = 'prometheus.istio.io/secure-port';
/** Most targets of one pod. */
const maxTargets = 50;

const prefixLength = 'prometheus_io_'.length;

/** Prometheus sees `prometheus.io/scrape`, `prometheus_io_scrape` and the like as one name. */
function isField(annotation: string, field: string): boolean {
  return (
    annotation.length === prefixLength + field.length &&
    annotation.startsWith('prometheus') &&
    annotation.replaceAll(/[^a-zA-Z0-9_]/g, '_') === `prometheus_io_${field}`
  );
}

/** The first of the annotations that Prometheus sees as `prometheus.io/FIELD`. */
export function prometheusAnnotation(annotations: Annotations, field: string): string | undefined {
  for (const name in annotations) if (isField(name, field)) return annotations[name];
  return undefined;
}

/** Annotations without those of Prometheus. */
export function clearPrometheusAnnotations(annotations: Annotations): Record<string, string> {
  return Object.fromEntries(
    Object.entries(annotations).filter(
      ([name]) => !['port', 'path', 'scrape'].some((field) => isField(name, field)),
    ),
  );
}

/** Whether metrics are merged: annotation `prometheus.istio.io/merge-metrics`, or the mesh's setting. */
export function mergesMetrics(meshEnabled: boolean, annotations: Annotations): boolean {
  return parseBool(annotations['prometheus.istio.io/merge-metrics']) ?? meshEnabled;
}

/** What the pod's annotations ask for. */
export function scrapeConfiguration(annotations: Annotations): ScrapeConfiguration {
  const text = annotations[targetsAnnotation];
  const targets = text
    ?.split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map((entry) => {
      const colon = entry.indexOf(':');
      return colon === -1
        ? { port: entry, path: '' }
        : { port: entry.slice(0, colon).trim(), path: entry.slice(colon + 1).trim() };
    });
  return {
    scrape: prometheusAnnotation(annotations, 'scrape') ?? '',
    port: prometheusAnnotation(annotations, 'port') ?? '',
    path: prometheusAnnotation(annotations, 'path') ?? '',
    targets: targets === undefined || targets.length === 0 ? null : targets,
  };
}

/** What is wrong with the annotations of a pod that has a proxy: reserved ports, and targets without a port. */
export function checkPrometheusAnnotations(annotations: Annotations, hasProxy: boolean): string[] {
  if (!hasProxy || parseBool(prometheusAnnotation(annotations, 'scrape')) === false) return [];
  const { port, targets } = scrapeConfiguration(annotations);
  const errors: string[] = [];
  const reserved = (annotation: string, value: string): void =>
    void errors.push(`annotation ${annotation}: port ${value} is reserved for Istio's own use`);
  if (reservedPorts.has(port)) reserved('prometheus.io/port', port);
  if ((targets?.length ?? 0) > maxTargets)
    errors.push(`annotation ${targetsAnnotation}: expected at most ${maxTargets} targets`);
  for (const target of targets ?? []) {
    if (reservedPorts.has(target.port)) reserved(targetsAnnotation, target.port);
    else if (!/^\d{1,5}$/.test(target.port) || Number(target.port) < 1 || Number(target.port) > 65_535)
      errors.push(
        `annotation ${targetsAnnotation}: ${JSON.stringify(target.port)}: expected targets as 8080:/metrics with commas`,
      );
  }
  return errors;
}

/** `ISTIO_PROMETHEUS_ANNOTATIONS`, or nothing when there is nothing to scrape. */
function scrapeVariable(annotations: Annotations): EnvVar[] {
  const { scrape, path, port, targets } = scrapeConfiguration(annotations);
  if (scrape === '' && path === '' && port === '' && targets === null) return [];
  const value = JSON.stringify({ scrape, path, port, ...(targets === null ? {} : { targets }) });
  return [{ name: 'ISTIO_PROMETHEUS_ANNOTATIONS', value }];
}

/** Moves a pod's scrape settings to the agent; `withEnv` adds variables to the proxy's container. */
export function applyPrometheusMerge(
  pod: Pod,
  mesh: EffectiveMeshConfig,
  withEnv: (pod: Pod, added: readonly EnvVar[]) => Pod,
): Pod {
  const annotations = pod.metadata?.annotations ?? {};
  const unwanted = parseBool(prometheusAnnotation(annotations, 'scrape')) === false;
  if (unwanted || !mergesMetrics(mesh.enablePrometheusMerge, annotations)) return pod;
  const port = String(mesh.defaultConfig.statusPort);
  // The agent's port stands there already: the user's own wish, or an earlier injection.
  if (prometheusAnnotation(annotations, 'port') === port) return pod;
  const merged = withEnv(pod, scrapeVariable(annotations));
  return {
    ...merged,
    metadata: {
      ...merged.metadata,
      annotations: {
        ...clearPrometheusAnnotations(annotations),
        'prometheus.io/path': '/stats/prometheus',
        'prometheus.io/port': port,
        'prometheus.io/scrape': 'true',
      },
    },
  };
}

/** `prometheus.istio.io/secure-port`: the port of merged metrics behind mTLS, when the proxy has one; the user's stays. */
export function securePort(annotations: Annotations, proxy: Container | undefined): Annotations {
  if (Object.hasOwn(annotations, securePortAnnotation)) return annotations;
  const value = proxy?.env?.find(({ name }) => name === 'ENVOY_SECURE_MERGED_METRICS_PORT')?.value ?? '';
  return value === '' || value === '0' ? annotations : { ...annotations, [securePortAnnotation]: value };
}
