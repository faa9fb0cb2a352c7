/** Names of hosts, labels, ports and namespaces, as Istio's validation reads them. */
import { isIP } from 'node:net';
import type { Checker } from './checker.ts';
import { type Rule, type Schema, integer, map, string } from './schema.ts';

/** Letters, digits and inner hyphens; RFC 1123 2.1. Istio lets upper case pass. */
const label = /^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$/;
const wildcardLabel = /^(?:\*|(?:\*-?)?[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)$/;

/** A DNS label of 1 to 63 characters (RFC 1123). */
export function isDnsLabel(text: string): boolean {
  return text.length <= 63 && label.test(text);
}

function hasDnsLength(text: string): boolean {
  return text.length >= 1 && text.length <= 255;
}

function areDnsLabels(text: string): boolean {
  const labels = (text.endsWith('.') ? text.slice(0, -1) : text).split('.');
  // A name that ends in digits only would read as an address.
  return !/^\d+$/.test(labels.at(-1) ?? '') && labels.every(isDnsLabel);
}

/** A full or short DNS name, without wildcards. */
export function isFqdn(text: string): boolean {
  return hasDnsLength(text) && areDnsLabels(text);
}

/** A DNS name whose first label may be, or start with, `*`. */
export function isWildcardDomain(text: string): boolean {
  if (!hasDnsLength(text)) return false;
  const dot = text.indexOf('.');
  const first = dot === -1 ? text : text.slice(0, dot);
  if (first.length > 64 || !wildcardLabel.test(first)) return false;
  return dot === -1 ? !/^\d+$/.test(first) : areDnsLabels(text.slice(dot + 1));
}

/** An IPv4 or IPv6 address, without zone. */
export function isAddress(text: string): boolean {
  return isIP(text) !== 0 && !text.includes('%');
}

/** An address, or an address with a mask. */
export function isCidr(text: string): boolean {
  const slash = text.indexOf('/');
  if (slash === -1) return isAddress(text);
  const family = isIP(text.slice(0, slash));
  const bits = text.slice(slash + 1);
  return family !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
}

/** A Kubernetes object name: a lower-case DNS subdomain of up to 253 characters. */
export function isObjectName(text: string): boolean {
  return (
    text.length <= 253 && /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/.test(text)
  );
}

/** A label value of Kubernetes; empty is allowed. */
export function isLabelValue(text: string): boolean {
  return text === '' || (text.length <= 63 && /^[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/.test(text));
}

/** A label key of Kubernetes: a name, with an optional `prefix/`. */
export function isLabelKey(text: string): boolean {
  const slash = text.indexOf('/');
  const name = text.slice(slash + 1);
  const prefixOk = slash === -1 || (slash > 0 && isObjectName(text.slice(0, slash).toLowerCase()));
  return prefixOk && name !== '' && isLabelValue(name);
}

/** Two host patterns of which one covers the other, or both the same. */
export function hostsOverlap(first: string, second: string): boolean {
  if (first === second) return true;
  const covers = (pattern: string, host: string): boolean =>
    pattern.startsWith('*') && host.replace(/^\*/, '').endsWith(pattern.slice(1));
  return covers(first, second) || covers(second, first);
}

/** True when every name that `inner` matches is matched by `outer` too. */
export function hostCovers(outer: string, inner: string): boolean {
  if (outer.startsWith('*')) {
    return inner.startsWith('*')
      ? inner.slice(1).endsWith(outer.slice(1))
      : inner.endsWith(outer.slice(1)) && inner.length >= outer.length - 1;
  }
  return outer.toLowerCase() === inner.toLowerCase();
}

/** A DNS name without wildcards. */
export const fqdn: Schema<string> = string({
  expected: 'a DNS name such as "reviews.prod.svc.cluster.local"',
  code: 'invalid_host',
  test: isFqdn,
});

/** A port: 1 to 65535. */
export const port: Schema<number> = integer({ min: 1, max: 65_535, expected: 'a port from 1 to 65535' });

/** uint32 of the API. */
export const uint32: Schema<number> = integer({ min: 0, max: 4_294_967_295 });

/** uint64 of the API, as far as a JSON number goes. */
export const uint64: Schema<number> = integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

/** Reports label keys and values that Kubernetes would refuse. */
export function checkLabels(labels: Readonly<Record<string, string>>, at: Checker): void {
  for (const [key, value] of Object.entries(labels)) {
    if (!isLabelKey(key))
      at.mismatch('invalid_label', 'a label key such as "app" or "example.com/app"', key, [key]);
    if (!isLabelValue(value))
      at.mismatch('invalid_label', 'a label value of up to 63 letters, digits, "-", "_", "."', value, [key]);
  }
}

/** Labels with syntactically right keys and values. */
export const labels: Schema<Readonly<Record<string, string>>> = map(string(), { rule: checkLabels });

/** Namespaces of exportTo: names, `.`, `*`, `~`; nothing beside a `*`; none twice. */
export const exportTo: Rule<readonly string[]> = (namespaces, at) => {
  const seen = new Set<string>();
  for (const [index, namespace] of namespaces.entries()) {
    if (seen.has(namespace)) at.error('duplicate', `duplicate entry "${namespace}"`, [index]);
    seen.add(namespace);
    if (!['*', '.', '~'].includes(namespace) && !isDnsLabel(namespace)) {
      at.mismatch('invalid_name', 'a namespace, ".", "*" or "~"', namespace, [index]);
    }
  }
  if (seen.has('*') && namespaces.length > 1) {
    at.error('conflict', '"*" means all namespaces: nothing else can stand beside it');
  }
  if (seen.has('~') && namespaces.length > 1) {
    at.error('conflict', '"~" means no namespace: nothing else can stand beside it');
  }
};
