/** What the protocol says about each type of resource. */
import {
  CLUSTER,
  CLUSTER_LOAD_ASSIGNMENT,
  EXTENSION_CONFIG,
  LISTENER,
  NAME_TABLE,
  ROUTE_CONFIGURATION,
  SECRET,
} from '#api/type_urls.ts';

/** Type URLs by the short name of their discovery service. */
export const typeUrls = {
  cds: CLUSTER,
  eds: CLUSTER_LOAD_ASSIGNMENT,
  lds: LISTENER,
  rds: ROUTE_CONFIGURATION,
  sds: SECRET,
  ecds: EXTENSION_CONFIG,
  /** Names for the agent's DNS proxy (Istio). One resource without a name. */
  nds: NAME_TABLE,
} as const;

/**
 * Order of types within one push: make before break (xDS protocol, "Eventual consistency considerations"). Clusters and
 * their endpoints come before the listeners and routes that lead to them; types not named here come last.
 */
export const pushOrder: readonly string[] = [
  typeUrls.cds,
  typeUrls.eds,
  typeUrls.lds,
  typeUrls.rds,
  typeUrls.ecds,
  typeUrls.sds,
  typeUrls.nds,
];

/** Types whose SotW responses always hold all resources: what is absent was removed. */
const fullStateTypes: ReadonlySet<string> = new Set([typeUrls.cds, typeUrls.lds]);

/** True when absence from a SotW response means removal (xDS protocol, "Deleting Resources"). */
export function isFullState(typeUrl: string): boolean {
  return fullStateTypes.has(typeUrl);
}

/** Types that are only ever asked for by name: an empty list of names is no wildcard for them. */
const namedTypes: ReadonlySet<string> = new Set([typeUrls.eds, typeUrls.rds, typeUrls.sds, typeUrls.ecds]);

/** True when a first request without names asks for all (xDS protocol, "How the client specifies what resources to return"). */
export function allowsLegacyWildcard(typeUrl: string): boolean {
  return !namedTypes.has(typeUrl);
}

const shortNames = new Map<string, string>(
  Object.entries(typeUrls).map(([name, url]) => [url, name.toUpperCase()]),
);

/** `CDS`, or the message name for types without a short name: for logs, metrics and tables. */
export function shortTypeName(typeUrl: string): string {
  return shortNames.get(typeUrl) ?? typeUrl.slice(typeUrl.lastIndexOf('.') + 1);
}

/** Sorts type URLs by `pushOrder`. */
export function inPushOrder(urls: Iterable<string>): string[] {
  const rank = (url: string): number => {
    const index = pushOrder.indexOf(url);
    return index === -1 ? pushOrder.length : index;
  };
  return [...urls].sort((a, b) => rank(a) - rank(b));
}
