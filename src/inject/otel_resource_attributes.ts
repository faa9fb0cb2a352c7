/** OpenTelemetry's names for a workload (semantic conventions, service attributes from Kubernetes). */
import type { InjectionContext } from './context.ts';
import type { Container } from './pod/types.ts';

/** What attributes are made from. */
export interface OtelSource {
  readonly namespace: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly containers: readonly Pick<Container, 'name' | 'image'>[];
}

const prefix = 'resource.opentelemetry.io/';

/** Tag and digest of an image reference: `1.21`, `sha256:…`, `1.21@sha256:…`, or empty. */
function imageVersion(image: string): string {
  const [reference = '', digest = ''] = image.split('@');
  // A colon before the last slash is that of a registry's port.
  const name = reference.slice(reference.lastIndexOf('/') + 1);
  const tag = name.includes(':') ? name.slice(name.indexOf(':') + 1) : '';
  return tag !== '' && digest !== '' ? `${tag}@${digest}` : `${tag}${digest}`;
}

/** `service.namespace=…,service.version=…,service.instance.id=…`; annotations first, then labels, then the pod. */
export function serviceAttributes({ namespace, annotations, labels, containers }: OtelSource): string {
  const [first] = containers;
  const own = (name: string): string => annotations[`${prefix}${name}`] ?? '';
  const version = [
    own('service.version'),
    labels['app.kubernetes.io/version'] ?? '',
    // With several containers none of their images is the workload's version.
    containers.length === 1 ? imageVersion(first?.image ?? '') : '',
  ].find((value) => value !== '');
  const instance = [namespace, '$(POD_NAME)', ...(first === undefined ? [] : [first.name])].join('.');
  const attributes = [
    ['service.namespace', own('service.namespace') === '' ? namespace : own('service.namespace')],
    ['service.version', version ?? ''],
    ['service.instance.id', own('service.instance.id') === '' ? instance : own('service.instance.id')],
  ];
  return attributes
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

/** The attributes, when a provider of the mesh asks for them (`serviceAttributeEnrichment`). */
export function otelResourceAttributes(context: InjectionContext): string | undefined {
  const { mesh, metadata, spec, owner } = context;
  const wanted = mesh.extensionProviders.some(
    ({ opentelemetry }) => opentelemetry?.serviceAttributeEnrichment === 'OTEL_SEMANTIC_CONVENTIONS',
  );
  if (!wanted) return undefined;
  const namespace = metadata.namespace ?? owner.namespace;
  return serviceAttributes({
    namespace: namespace === '' ? 'default' : namespace,
    annotations: metadata.annotations ?? {},
    labels: metadata.labels ?? {},
    containers: (spec.containers ?? []).filter(({ name }) => name !== 'istio-proxy'),
  });
}
