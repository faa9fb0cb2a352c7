/** Injects one object of a manifest: a workload of any kind, or a List of them. */
import type { Owner } from '../context.ts';
import { type InjectorSettings, injectPod } from '../inject_pod.ts';
import { InjectionError } from '../injection_error.ts';
import { canonical } from '../pod/canonical.ts';
import { checkShape } from '../pod/check.ts';
import { type Json, type JsonObject, isList, isObject } from '../pod/shape.ts';
import type { ObjectMeta, Pod, PodSpec } from '../pod/types.ts';
import { ownerOf } from '../owner.ts';
import { type InjectionPolicy, decide } from '../policy.ts';
import { type WorkloadKind, objectAt, withObjectAt, workloadKindOf } from './kinds.ts';

/** What became of an object. */
export interface InjectedObject {
  readonly value: JsonObject;
  /** False: it may be printed as it was. */
  readonly changed: boolean;
  /** What people should know: why a workload was left out. */
  readonly warnings: readonly string[];
}

/** Most objects in a List, and most nested Lists. */
const maxItems = 10_000;
const maxDepth = 10;

function untouched(value: JsonObject, warnings: readonly string[] = []): InjectedObject {
  return { value, changed: false, warnings };
}

/** Decides and injects; all that is not a workload comes back as it was. */
export function injectObject(
  value: JsonObject,
  settings: InjectorSettings,
  policy: InjectionPolicy,
  depth = 0,
): InjectedObject {
  if (value['kind'] === 'List' && isList(value['items']))
    return injectList(value, value['items'], settings, policy, depth);
  const kind = workloadKindOf(value);
  return kind === undefined ? untouched(value) : injectWorkload(value, kind, settings, policy);
}

function injectList(
  list: JsonObject,
  items: readonly Json[],
  settings: InjectorSettings,
  policy: InjectionPolicy,
  depth: number,
): InjectedObject {
  if (items.length > maxItems) throw new InjectionError([`List: expected at most ${maxItems} items`]);
  if (depth >= maxDepth) throw new InjectionError([`List: expected at most ${maxDepth} nested lists`]);
  const warnings: string[] = [];
  let changed = false;
  const injected = items.map((item) => {
    if (!isObject(item)) return item;
    const result = injectObject(item, settings, policy, depth + 1);
    warnings.push(...result.warnings);
    changed ||= result.changed;
    return result.value;
  });
  if (!changed) return untouched(list, warnings);
  return {
    value: { ...list, items: injected, ...(list['metadata'] === undefined ? { metadata: {} } : {}) },
    changed,
    warnings,
  };
}

function nameOf({ namespace = '', name = '' }: ObjectMeta, pod: ObjectMeta): string {
  return `${namespace}/${pod.name ?? name}`;
}

function injectWorkload(
  value: JsonObject,
  kind: WorkloadKind,
  settings: InjectorSettings,
  policy: InjectionPolicy,
): InjectedObject {
  const label = `${kind.kind} ${String(objectAt(value, ['metadata'])['name'] ?? '')}`;
  const wrong = checkShape(value, kind.shape);
  if (wrong.length > 0) throw new InjectionError(wrong.map((problem) => `${label}: ${problem}`));
  const clean = canonical(value, kind.shape) as JsonObject;
  const own = objectAt(clean, ['metadata']) as ObjectMeta;
  const metadata = objectAt(clean, kind.metadata) as ObjectMeta;
  const pod: Pod = { metadata, spec: objectAt(clean, kind.spec) as PodSpec };
  const fullName = nameOf(own, metadata);
  const decision = decide(withInnerMetadata(pod, clean, kind), own.namespace ?? '', policy);
  if (!decision.inject) {
    const why =
      decision.cause === 'host_network'
        ? 'has host networking enabled'
        : decision.cause === 'ignored_namespace'
          ? 'is in a namespace that is never injected'
          : 'has sidecar injection disabled';
    const warning = `Skipping injection because ${JSON.stringify(fullName)} ${why}: ${decision.reason}`;
    return { value: finished(value, kind), changed: true, warnings: [warning] };
  }
  const namespace = own.namespace ?? '';
  const owner: Owner =
    kind.kind === 'Pod'
      ? ownerOf(pod, namespace)
      : { apiVersion: String(value['apiVersion']), kind: kind.kind, name: own.name ?? '', namespace };
  const request = { pod: { ...pod, apiVersion: 'v1', kind: 'Pod' }, owner };
  let injected: Pod;
  try {
    injected = injectPod(request, settings);
  } catch (error) {
    if (error instanceof InjectionError)
      throw new InjectionError(error.problems.map((problem) => `${label}: ${problem}`));
    throw new Error(`${label}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  let result = withObjectAt(value, kind.metadata, (injected.metadata ?? {}) as unknown as JsonObject);
  result = withObjectAt(result, kind.spec, (injected.spec ?? {}) as unknown as JsonObject);
  return { value: finished(result, kind), changed: true, warnings: [] };
}

/** A CronJob's pod template may refuse injection too, although its labels are read elsewhere. */
function withInnerMetadata(pod: Pod, value: JsonObject, kind: WorkloadKind): Pod {
  if (kind.kind !== 'CronJob') return pod;
  const inner = objectAt(value, ['spec', 'jobTemplate', 'spec', 'template', 'metadata']) as ObjectMeta;
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      labels: { ...pod.metadata?.labels, ...inner.labels },
      annotations: { ...pod.metadata?.annotations, ...inner.annotations },
    },
  };
}

/** The form in which Kubernetes' own types write the object. */
function finished(value: JsonObject, kind: WorkloadKind): JsonObject {
  const status = objectAt(value, ['status']);
  const spec = { ...kind.zeroSpec, ...objectAt(value, ['spec']) };
  const filled = { ...value, spec, status: Object.keys(status).length === 0 ? kind.emptyStatus : status };
  return withoutTimestamps(canonical(filled, kind.shape) as JsonObject, kind);
}

function withoutTimestamps(value: JsonObject, { metadata }: WorkloadKind): JsonObject {
  let result = value;
  for (const path of [['metadata'], metadata]) {
    const { creationTimestamp, ...rest } = objectAt(result, path);
    if (creationTimestamp === null) result = withObjectAt(result, path, rest);
  }
  return result;
}
