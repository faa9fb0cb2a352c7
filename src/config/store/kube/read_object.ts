/** From an object of the API server to one of the store: checked as objects from files are. */
import type { KubeObject } from '#kube/object.ts';
import { validateResource } from '../../kinds/kinds.ts';
import type { Resource } from '../../resource.ts';
import { type Issue, formatPath } from '../../schema/issue.ts';
import { readEnvelope } from '../../yaml/envelope.ts';

/** The result of reading an object. */
export type ReadResult =
  | { readonly ok: true; readonly resource: Resource }
  | { readonly ok: false; readonly errors: readonly Issue[] };

/** Only what the mesh reads of the metadata: a new version of the rest is no change. */
function trimMetadata({ metadata }: KubeObject): Readonly<Record<string, unknown>> {
  const { name, namespace, uid, labels, annotations, creationTimestamp, deletionTimestamp, ownerReferences } =
    metadata;
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...own } = annotations ?? {};
  return {
    name,
    namespace,
    uid,
    labels,
    annotations: own,
    creationTimestamp,
    deletionTimestamp,
    ownerReferences: ownerReferences?.map(({ apiVersion, kind, name: owner, controller }) => ({
      apiVersion,
      kind,
      name: owner,
      controller,
    })),
  };
}

/** Undefined fields would be there for schemas; JSON has none. */
function withoutUndefined(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}

/** Reads an object. @param body what is kept beside the metadata. */
export function readKubeObject(
  apiVersion: string,
  kind: string,
  object: KubeObject,
  body: Readonly<Record<string, unknown>>,
): ReadResult {
  const value = { ...body, apiVersion, kind, metadata: withoutUndefined(trimMetadata(object)) };
  const envelope = readEnvelope(value, {
    source: { file: '', line: 1, column: 1 },
    defaultNamespace: 'default',
    allowForeign: false,
  });
  if (envelope.type === 'ignored') return { ok: false, errors: [envelope.warning] };
  if (envelope.type === 'invalid') return { ok: false, errors: envelope.issues };
  const { source: _, ...resource } = envelope.resource;
  const errors = [...envelope.issues, ...validateResource(resource)].filter(
    ({ severity }) => severity === 'error',
  );
  return errors.length > 0 ? { ok: false, errors } : { ok: true, resource };
}

/** `spec.http[0].route: expected a list, found "x"`. */
export function issueText({ path, message }: Issue): string {
  return path.length === 0 ? message : `${formatPath(path)}: ${message}`;
}
