/** Where routes go: destinations, their weights, and the names that several rules share. */
import type { Checker } from '../../schema/checker.ts';
import { hostCovers, isCidr, isDnsLabel, isFqdn, isWildcardDomain, port } from '../../schema/names.ts';
import { type Rule, type Schema, integer, number, object, string } from '../../schema/schema.ts';
import type { Destination, Percent, PortSelector } from './types.ts';

/** `PortSelector`: a number that is required where the selector stands. */
export const portSelector: Schema<PortSelector> = object<PortSelector>(
  { number: port },
  { required: ['number'] },
);

/** `Destination`. */
export const destination: Schema<Destination> = object<Destination>(
  {
    host: string({
      expected: 'the name of a service such as "reviews" or "reviews.prod.svc.cluster.local"',
      code: 'invalid_host',
      test: (host) => host !== '*' && isWildcardDomain(host),
    }),
    subset: string({ expected: 'the name of a subset', code: 'invalid_name', test: isSubsetName }),
    port: portSelector,
  },
  { required: ['host'] },
);

/** A subset's name is a DNS label; an empty one counts as absent. */
export function isSubsetName(name: string): boolean {
  return name === '' || isDnsLabel(name);
}

/** A weight of a destination. */
export const weight: Schema<number> = integer({ min: 0 });

/** `Percent`. */
export const percent: Schema<Percent> = object<Percent>({ value: number({ min: 0, max: 100 }) });

/** Weights of several destinations must not all be zero, nor overflow. */
export function checkWeights(routes: readonly { readonly weight?: number }[], at: Checker): void {
  const total = routes.reduce((sum, route) => sum + (route.weight ?? 0), 0);
  if (routes.length > 1 && total === 0)
    at.error('invalid_value', 'the sum of weights is 0: no destination would get requests');
  if (total > 4_294_967_295)
    at.error('out_of_range', `expected a sum of weights of at most 4294967295, found ${total}`);
}

/** Names of gateways: `name`, `namespace/name`, `mesh`; in old objects also a DNS name. */
export const gatewayNames: Rule<readonly string[]> = (names, at) => {
  for (const [index, name] of names.entries()) {
    const parts = name.split('/');
    const [namespace = '', gateway = ''] = parts;
    const valid =
      parts.length === 1 ? isFqdn(name) : parts.length === 2 && isDnsLabel(namespace) && isFqdn(gateway);
    if (!valid) at.mismatch('invalid_name', 'a gateway as "name" or "namespace/name"', name, [index]);
  }
};

/** A network as an address with an optional mask. */
export const subnet: Schema<string> = string({
  expected: 'an address or network such as "10.0.0.0/8"',
  code: 'invalid_address',
  test: isCidr,
});

/** Each server name must lie within a host of the object. */
export function checkSniHosts(sniHosts: readonly string[], hosts: readonly string[], at: Checker): void {
  for (const [index, sniHost] of sniHosts.entries()) {
    if (!isWildcardDomain(sniHost)) {
      at.mismatch('invalid_host', 'a DNS name, possibly with a wildcard in front', sniHost, [index]);
    } else if (!hosts.some((host) => hostCovers(host, sniHost))) {
      at.mismatch('conflict', `a name within the object's hosts (${hosts.join(', ')})`, sniHost, [index]);
    }
  }
}
