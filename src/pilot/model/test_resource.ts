/** Objects for tests, from what a YAML document holds. No validation: tests write valid objects. */
import type { Resource } from '#config/resource.ts';

let version = 0;

/** An object as a store would hold it; each call gives a new resourceVersion. */
export function testResource(document: Readonly<Record<string, unknown>>): Resource {
  const { apiVersion, kind, metadata, ...body } = document;
  const meta = (metadata ?? {}) as Partial<Resource['metadata']> & { creationTimestamp?: string | number };
  version += 1;
  return {
    apiVersion: String(apiVersion),
    kind: String(kind),
    metadata: {
      ...meta,
      name: meta.name ?? '',
      namespace: meta.namespace ?? (kind === 'Namespace' || kind === 'Node' ? '' : 'default'),
      labels: meta.labels ?? {},
      annotations: meta.annotations ?? {},
      creationTimestamp:
        meta.creationTimestamp === undefined ? 0 : Date.parse(String(meta.creationTimestamp)),
      resourceVersion: String(version),
    },
    body,
  };
}
