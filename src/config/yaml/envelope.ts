/** From a YAML value to an object: apiVersion, kind and metadata, before the kind's own schema. */
import { createHash } from 'node:crypto';
import { type Kind, findKind, kinds } from '../kinds/kinds.ts';
import type { ObjectMeta, Resource, SourcePosition } from '../resource.ts';
import { Checker, describe, nearest } from '../schema/checker.ts';
import type { Issue } from '../schema/issue.ts';
import { isObjectName, labels } from '../schema/names.ts';
import {
  type Schema,
  anyObject,
  isObject,
  list,
  map,
  object,
  string,
  withoutNulls,
} from '../schema/schema.ts';

interface RawMeta {
  readonly name?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly creationTimestamp?: string;
  readonly resourceVersion?: string;
  readonly uid?: string;
  readonly deletionTimestamp?: string;
  readonly ownerReferences?: readonly Readonly<Record<string, unknown>>[];
}

const objectName = string({
  expected: 'a lower-case name such as "reviews-v1"',
  code: 'invalid_name',
  test: isObjectName,
});
const time = string({ expected: 'a time (RFC 3339)', test: (text) => !Number.isNaN(Date.parse(text)) });

const metadataSchema: Schema<RawMeta> = object<RawMeta>(
  {
    name: objectName,
    namespace: string({
      expected: 'a namespace',
      code: 'invalid_name',
      test: (namespace) => namespace === '' || isObjectName(namespace),
    }),
    labels,
    annotations: map(string()),
    creationTimestamp: time,
    resourceVersion: string(),
    uid: string(),
    deletionTimestamp: time,
    ownerReferences: list(anyObject),
  },
  { required: ['name'], open: true },
);

/** What became of a value. */
export type EnvelopeResult =
  | {
      readonly type: 'resource';
      readonly kind: Kind;
      readonly resource: Resource;
      readonly issues: readonly Issue[];
    }
  | { readonly type: 'invalid'; readonly issues: readonly Issue[]; readonly kind?: Kind }
  | { readonly type: 'ignored'; readonly warning: Issue };

/** Options of reading an object. */
export interface EnvelopeOptions {
  readonly source: SourcePosition;
  /** For namespaced objects that name none. */
  readonly defaultNamespace: string;
  /** Objects without apiVersion and kind are not meant for us: a warning in place of an error. */
  readonly allowForeign: boolean;
}

function error(code: Issue['code'], message: string, path: readonly string[]): Issue {
  return { severity: 'error', code, message, path };
}

/** Reads apiVersion, kind and metadata. The body is not checked here. */
export function readEnvelope(given: unknown, options: EnvelopeOptions): EnvelopeResult {
  const value = withoutNulls(given);
  if (!isObject(value)) {
    const message = `expected an object with apiVersion and kind, found ${describe(value)}`;
    return { type: 'invalid', issues: [error('wrong_type', message, [])] };
  }
  const { apiVersion, kind: kindName, metadata, ...body } = value;
  if (options.allowForeign && apiVersion === undefined && kindName === undefined) {
    const message = 'not an object of Kubernetes or Istio (no apiVersion and kind): ignored';
    return { type: 'ignored', warning: { severity: 'warning', code: 'unsupported_kind', message, path: [] } };
  }
  const issues = (['apiVersion', 'kind'] as const)
    .filter((field) => typeof value[field] !== 'string' || value[field] === '')
    .map((field) =>
      error('missing_field', `required: expected a string, found ${describe(value[field])}`, [field]),
    );
  if (issues.length > 0 || typeof apiVersion !== 'string' || typeof kindName !== 'string') {
    return { type: 'invalid', issues };
  }
  const kind = findKind(apiVersion, kindName);
  if (kind === undefined) return unknownKind(apiVersion, kindName);
  const checker = new Checker({ name: '', namespace: '' }, ['metadata']);
  metadataSchema.check(metadata ?? {}, checker);
  if (checker.errorCount > 0) return { type: 'invalid', issues: checker.issues, kind };
  const meta = toMeta(metadata as RawMeta, kind, value, options.defaultNamespace);
  const resource: Resource = {
    apiVersion: kind.apiVersion,
    kind: kindName,
    metadata: meta,
    body,
    source: options.source,
  };
  return { type: 'resource', kind, resource, issues: checker.issues };
}

function unknownKind(apiVersion: string, name: string): EnvelopeResult {
  const group = (version: string): string => version.split('/').at(-2) ?? '';
  const sameName = kinds.find(
    (entry) => entry.kind === name && group(entry.apiVersion) === group(apiVersion),
  );
  if (sameName !== undefined) {
    const expected = `one of ${sameName.apiVersions.join(', ')}`;
    return {
      type: 'invalid',
      kind: sameName,
      issues: [
        {
          ...error('unknown_value', `expected ${expected}, found ${describe(apiVersion)}`, ['apiVersion']),
          expected,
        },
      ],
    };
  }
  const elsewhere = kinds.find((entry) => entry.kind === name && !apiVersion.includes('/'));
  const inGroup = kinds
    .filter((entry) => group(entry.apiVersion) === group(apiVersion))
    .map((entry) => entry.kind);
  const near = nearest(name, inGroup);
  const hint =
    elsewhere !== undefined
      ? ` (did you mean apiVersion ${elsewhere.apiVersion}?)`
      : near !== undefined
        ? ` (did you mean ${near}?)`
        : '';
  const message = `kind ${name} of ${apiVersion} is not supported yet: ignored${hint}`;
  return {
    type: 'ignored',
    warning: { severity: 'warning', code: 'unsupported_kind', message, path: [] },
  };
}

function toMeta(raw: RawMeta, kind: Kind, value: object, defaultNamespace: string): ObjectMeta {
  const namespace = raw.namespace === undefined || raw.namespace === '' ? defaultNamespace : raw.namespace;
  const owners = (raw.ownerReferences ?? []).map((owner) => ({
    apiVersion: String(owner['apiVersion'] ?? ''),
    kind: String(owner['kind'] ?? ''),
    name: String(owner['name'] ?? ''),
    ...(typeof owner['controller'] === 'boolean' ? { controller: owner['controller'] } : {}),
  }));
  return {
    name: raw.name ?? '',
    namespace: kind.namespaced ? namespace : '',
    labels: raw.labels ?? {},
    annotations: raw.annotations ?? {},
    creationTimestamp: typeof raw.creationTimestamp === 'string' ? Date.parse(raw.creationTimestamp) : 0,
    resourceVersion: createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16),
    ...(typeof raw.uid === 'string' ? { uid: raw.uid } : {}),
    ...(typeof raw.deletionTimestamp === 'string'
      ? { deletionTimestamp: Date.parse(raw.deletionTimestamp) }
      : {}),
    ...(owners.length > 0 ? { ownerReferences: owners } : {}),
  };
}
