/**
 * Injecting a pod again: annotation `sidecar.istio.io/status` says what an earlier injection added, and
 * `proxy.istio.io/overrides` what the user had written before.
 */
import { clearPrometheusAnnotations, prometheusAnnotation } from './prometheus.ts';
import { orderedJson } from './pod/canonical.ts';
import { containerShape } from './pod/pod_shape.ts';
import { type Json, type JsonObject, isList, isObject, list } from './pod/shape.ts';
import { checkShape } from './pod/check.ts';
import { InjectionError } from './injection_error.ts';
import type { Container, Pod, PodOverlay } from './pod/types.ts';

/** Names what injection added. */
export const statusAnnotation = 'sidecar.istio.io/status';
/** Keeps containers of the user that injection changed. */
export const overridesAnnotation = 'proxy.istio.io/overrides';

/** What an injection added, by name. */
export interface InjectionStatus {
  readonly initContainers: readonly string[];
  readonly containers: readonly string[];
  readonly volumes: readonly string[];
  readonly imagePullSecrets: readonly string[];
}

/** Containers as the user declared them. */
export interface Overrides {
  readonly containers: readonly Container[];
  readonly initContainers: readonly Container[];
}

function names(value: Json | undefined): string[] {
  return isList(value) ? value.filter((item) => typeof item === 'string') : [];
}

function parseObject(text: string, name: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InjectionError([`annotation ${name}: expected JSON: ${reason}`]);
  }
  if (!isObject(value)) throw new InjectionError([`annotation ${name}: expected a JSON object`]);
  return value;
}

/** What an earlier injection added, or undefined. A status that cannot be read counts as an empty one. */
export function readStatus(pod: Pod): InjectionStatus | undefined {
  const text = pod.metadata?.annotations?.[statusAnnotation];
  if (text === undefined) return undefined;
  let status: JsonObject = {};
  try {
    status = parseObject(text, statusAnnotation);
  } catch {
    // Whatever it was, it is written anew.
  }
  return {
    initContainers: names(status['initContainers']),
    containers: names(status['containers']),
    volumes: names(status['volumes']),
    imagePullSecrets: names(status['imagePullSecrets']),
  };
}

/** The status for a pod that got these overlays. */
export function statusText(added: PodOverlay, revision: string): string {
  const { spec = {} } = added;
  const namesOf = (items: readonly { readonly name?: string }[] | undefined): Json =>
    items === undefined || items.length === 0 ? null : items.map(({ name = '' }) => name);
  return JSON.stringify({
    initContainers: namesOf(spec.initContainers),
    containers: namesOf(spec.containers),
    volumes: namesOf(spec.volumes),
    imagePullSecrets: namesOf(spec.imagePullSecrets),
    revision: revision === '' ? 'default' : revision,
  });
}

/**
 * The containers that `proxy.istio.io/overrides` keeps.
 * @throws InjectionError when the annotation is not what injection wrote
 */
export function readOverrides(pod: Pod): Overrides {
  const text = pod.metadata?.annotations?.[overridesAnnotation];
  if (text === undefined) return { containers: [], initContainers: [] };
  const value = parseObject(text, overridesAnnotation);
  const containersOf = (name: string): readonly Container[] => {
    const items = value[name] ?? [];
    const wrong = checkShape(items, list(containerShape), name);
    const named = isList(items) && items.every((item) => isObject(item) && typeof item['name'] === 'string');
    if (wrong.length === 0 && !named) wrong.push(`${name}: expected containers with names`);
    if (wrong.length > 0)
      throw new InjectionError(wrong.map((problem) => `annotation ${overridesAnnotation}: ${problem}`));
    return items as unknown as readonly Container[];
  };
  return { containers: containersOf('containers'), initContainers: containersOf('initContainers') };
}

/** Text of `proxy.istio.io/overrides`. */
export function overridesText({ containers, initContainers }: Overrides): string {
  const textOf = (items: readonly Container[]): string =>
    `[${items.map((item) => orderedJson(item as unknown as Json, containerShape)).join(',')}]`;
  const parts: string[] = [];
  if (containers.length > 0) parts.push(`"containers":${textOf(containers)}`);
  if (initContainers.length > 0) parts.push(`"initContainers":${textOf(initContainers)}`);
  return `{${parts.join(',')}}`;
}

function withoutNames<T extends { readonly name?: string }>(
  items: readonly T[] | undefined,
  taken: readonly string[],
): readonly T[] | undefined {
  return items?.filter(({ name = '' }) => !taken.includes(name));
}

/** The pod as it was before: without what the status names, with the user's containers, without our Prometheus target. */
export function stripInjection(pod: Pod, agentPort: number): Pod {
  const status = readStatus(pod);
  if (status === undefined) return pod;
  const { containers, initContainers } = readOverrides(pod);
  const back = (kept: readonly Container[], own: readonly Container[]): readonly Container[] => [
    ...kept,
    ...own.filter(({ name }) => !kept.some((container) => container.name === name)),
  ];
  const spec = pod.spec ?? {};
  const { [statusAnnotation]: _, ...rest } = pod.metadata?.annotations ?? {};
  const ours = prometheusAnnotation(rest, 'port') === String(agentPort);
  const annotations = ours ? clearPrometheusAnnotations(rest) : rest;
  return {
    ...pod,
    metadata: { ...pod.metadata, annotations },
    spec: {
      ...spec,
      containers: back(withoutNames(spec.containers, status.containers) ?? [], containers),
      initContainers: back(withoutNames(spec.initContainers, status.initContainers) ?? [], initContainers),
      ...(spec.volumes === undefined ? {} : { volumes: withoutNames(spec.volumes, status.volumes) ?? [] }),
      ...(spec.imagePullSecrets === undefined
        ? {}
        : { imagePullSecrets: withoutNames(spec.imagePullSecrets, status.imagePullSecrets) ?? [] }),
    },
  };
}
