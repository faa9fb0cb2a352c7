/** Which image the proxy runs: hub, name, tag, and the type that stands behind the tag. */
import { type InjectionContext, annotation } from './context.ts';
import type { Values } from './values.ts';

/** Types that images are published in; any of them at the end of a tag gives way to another type. */
const knownTypes = ['distroless', 'debug'];

/** Takes the tag's type away, and puts another in its place; `default` puts none. */
function tagOfType(tag: string, type: string): string {
  if (type === '') return tag;
  const suffix = knownTypes.map((known) => `-${known}`).find((candidate) => tag.endsWith(candidate));
  const plain = suffix === undefined ? tag : tag.slice(0, -suffix.length);
  return type === 'default' ? plain : `${plain}-${type}`;
}

/**
 * The image by values, ProxyConfig.image and annotation `sidecar.istio.io/proxyImageType`, the later ones first.
 * A tag may have become a number in YAML: `1.12`.
 */
export function proxyImage(
  values: Values,
  imageType: string | undefined,
  annotations: Readonly<Record<string, string>>,
  name = values.global.proxy.image,
): string {
  const { hub, tag, variant } = values.global;
  const type = annotations['sidecar.istio.io/proxyImageType'] ?? imageType ?? variant;
  return `${hub}/${name === '' ? 'proxyv2' : name}:${tagOfType(String(tag), type)}`;
}

function imageOf(context: InjectionContext, name: string): string {
  const wanted = annotation(context, 'sidecar.istio.io/proxyImage', name);
  // A name with a slash is a full reference; any other is completed.
  if (wanted.includes('/')) return wanted;
  const { values, proxyConfig, metadata } = context;
  return proxyImage(values, proxyConfig.image?.imageType, metadata.annotations ?? {}, name);
}

/** Image of the proxy, annotation `sidecar.istio.io/proxyImage` first. */
export function sidecarImage(context: InjectionContext): string {
  return imageOf(context, context.values.global.proxy.image);
}

/** Image of the init container, annotation `sidecar.istio.io/proxyImage` first. */
export function initImage(context: InjectionContext): string {
  return imageOf(context, context.values.global.proxy_init.image);
}
