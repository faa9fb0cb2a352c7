/** An error or warning of configuration, as people see it. */
import { resourceName } from '../resource.ts';
import type { Resource, SourcePosition } from '../resource.ts';
import { type Issue, type IssueCode, formatPath } from '../schema/issue.ts';

/** Names an object. */
export interface ResourceId {
  readonly apiVersion: string;
  readonly kind: string;
  /** Empty for cluster-scoped kinds. */
  readonly namespace: string;
  readonly name: string;
}

/** What is wrong, and where. */
export interface ConfigError {
  readonly code: IssueCode;
  /** Without position, object and path: `expected a number, found "abc"`. */
  readonly message: string;
  readonly file: string;
  /** Line and column start at 1. */
  readonly line: number;
  readonly column: number;
  /** `spec.http[0].route[1].weight`; empty when no field can be named. */
  readonly path: string;
  readonly expected?: string;
  /** Absent when the text did not let the object be known. */
  readonly resource?: ResourceId;
}

/** Of the object that an id names. */
export function idOf(resource: Resource): ResourceId {
  const { apiVersion, kind, metadata } = resource;
  return { apiVersion, kind, namespace: metadata.namespace, name: metadata.name };
}

/** Joins an issue with its place. */
export function toConfigError(issue: Issue, position: SourcePosition, resource?: ResourceId): ConfigError {
  return {
    code: issue.code,
    message: issue.message,
    ...position,
    path: formatPath(issue.path),
    ...(issue.expected === undefined ? {} : { expected: issue.expected }),
    ...(resource === undefined ? {} : { resource }),
  };
}

/** `VirtualService default/reviews`. */
export function idText({ kind, namespace, name }: ResourceId): string {
  return resourceName({
    kind,
    metadata: { name, namespace, labels: {}, annotations: {}, creationTimestamp: 0, resourceVersion: '' },
  });
}

/** `x.yaml:14:17: VirtualService default/reviews: spec.http[0].route[1].weight: expected a number, found "abc"`. */
export function formatConfigError(error: ConfigError): string {
  const { file, line, column, path, message, resource } = error;
  const parts = [`${file}:${line}:${column}`];
  if (resource !== undefined) parts.push(idText(resource));
  if (path !== '') parts.push(path);
  return [...parts, message].join(': ');
}
