/**
 * The webhook's question and answer: AdmissionReview in, decision and JSON Patch out. A pure function; whoever serves
 * HTTPS hands in the body.
 */
import { pathVariables } from './cluster_info.ts';
import { type InjectorSettings, injectPod } from './inject_pod.ts';
import { InjectionError } from './injection_error.ts';
import { type PatchOperation, jsonPatch } from './json_patch.ts';
import { openShiftIds } from './openshift.ts';
import { ownerOf } from './owner.ts';
import { canonical } from './pod/canonical.ts';
import { checkShape } from './pod/check.ts';
import { podShape } from './pod/pod_shape.ts';
import { type Json, type JsonObject, isList, isObject } from './pod/shape.ts';
import type { Pod } from './pod/types.ts';
import { type Decision, type InjectionPolicy, decide } from './policy.ts';

/** What the webhook knows beyond the request. */
export interface ReviewSettings {
  readonly injector: InjectorSettings;
  readonly policy: InjectionPolicy;
  /** Annotations of a namespace, for OpenShift. */
  namespaceAnnotations?(namespace: string): Readonly<Record<string, string>> | undefined;
}

/** The answer to one request, and what became of it. */
export interface ReviewResult {
  /** HTTP status: 200, or 400 for a body that is no review of a pod. */
  readonly status: 200 | 400;
  /** JSON to send. */
  readonly body: JsonObject;
  readonly outcome: 'injected' | 'skipped' | 'failed' | 'bad_request';
  /** Why; empty when injected. */
  readonly reason: string;
  readonly decision?: Decision;
  readonly patch?: readonly PatchOperation[];
}

const versions = ['admission.k8s.io/v1', 'admission.k8s.io/v1beta1'];

function badRequest(reason: string): ReviewResult {
  const body = {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    reason: 'BadRequest',
    code: 400,
    message: reason,
  };
  return { status: 400, body, outcome: 'bad_request', reason };
}

/** Deepest pod that is read; Kubernetes' own types stay below 20 levels. */
const maxDepth = 100;

/**
 * Most values of a pod, each field, entry of a map and item of a list: an application's has some hundreds. More would hold up
 * all other reviews for longer than a fifth of a second.
 */
const maxValues = 20_000;

/** Whether an object is too deep or has too many values. */
function isTooLarge(object: JsonObject): string | undefined {
  let left = maxValues;
  const isDeeper = (value: Json, levels: number): boolean => {
    if (typeof value !== 'object' || value === null) return false;
    if (levels === 0) return true;
    const values: readonly Json[] = isList(value) ? value : Object.values(value);
    left -= values.length;
    return left >= 0 && values.some((item) => isDeeper(item, levels - 1));
  };
  if (isDeeper(object, maxDepth)) return `expected at most ${maxDepth} levels of nesting`;
  return left < 0 ? `expected at most ${maxValues} values` : undefined;
}

interface Question {
  readonly apiVersion: string;
  readonly uid: string;
  readonly namespace: string;
  readonly object: JsonObject;
}

/** The parts of a review, or what is wrong with it. */
function readQuestion(review: unknown): Question | string {
  if (!isObject(review)) return 'expected an AdmissionReview';
  const { apiVersion, kind, request } = review;
  if (kind !== 'AdmissionReview') return 'expected kind AdmissionReview';
  if (typeof apiVersion !== 'string' || !versions.includes(apiVersion))
    return `expected apiVersion ${versions.join(' or ')}`;
  if (!isObject(request)) return 'expected a request in the AdmissionReview';
  const { uid, namespace = '', object } = request;
  if (typeof uid !== 'string' || uid === '') return 'request.uid: expected text';
  if (typeof namespace !== 'string') return 'request.namespace: expected text';
  if (!isObject(object)) return 'request.object: expected a pod';
  const tooLarge = isTooLarge(object);
  if (tooLarge !== undefined) return `request.object: ${tooLarge}`;
  const wrong = checkShape(object, podShape, 'request.object');
  return wrong.length > 0 ? wrong.join('; ') : { apiVersion, uid, namespace, object };
}

function answer({ apiVersion, uid }: Question, response: JsonObject): JsonObject {
  return { kind: 'AdmissionReview', apiVersion, response: { uid, ...response } };
}

/** Decides and injects. `path` is that of the request's URL: `/inject/cluster/X/net/Y`. Never throws. */
export function reviewPod(review: unknown, path: string, settings: ReviewSettings): ReviewResult {
  const question = readQuestion(review);
  if (typeof question === 'string') return badRequest(question);
  const pod = canonical(question.object, podShape) as unknown as Pod;
  const namespace = pod.metadata?.namespace ?? question.namespace;
  const decision = decide(pod, namespace, settings.policy);
  if (!decision.inject)
    return {
      status: 200,
      body: answer(question, { allowed: true }),
      outcome: 'skipped',
      reason: decision.reason,
      decision,
    };
  try {
    const patch = jsonPatch(question.object, patched(pod, namespace, path, settings));
    const encoded = Buffer.from(JSON.stringify(patch)).toString('base64');
    const body = answer(question, { allowed: true, patchType: 'JSONPatch', patch: encoded });
    return { status: 200, body, outcome: 'injected', reason: '', decision, patch };
  } catch (error) {
    // A pod without its proxy would be outside the mesh's policies: it is refused, and told why.
    const reason = error instanceof Error ? error.message : String(error);
    const code = error instanceof InjectionError ? 400 : 500;
    const status = { status: 'Failure', message: reason, code };
    return {
      status: 200,
      body: answer(question, { allowed: false, status }),
      outcome: 'failed',
      reason,
      decision,
    };
  }
}

function patched(pod: Pod, namespace: string, path: string, settings: ReviewSettings): Json {
  const injected = injectPod(
    {
      pod,
      owner: ownerOf(pod, namespace),
      variables: pathVariables(path),
      ...openShiftIds(settings.namespaceAnnotations?.(namespace) ?? {}),
    },
    settings.injector,
  );
  return injected as unknown as Json;
}
