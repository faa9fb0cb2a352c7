/** Cluster and network of a pod: the webhook's URL over the values, the pod's own label over both. */
import type { EnvVar, Pod } from './pod/types.ts';
import { changeProxy } from './overlay/containers.ts';
import type { Values } from './values.ts';

/** Label of a pod's network. */
const networkLabel = 'topology.istio.io/network';
const clusterVariable = 'ISTIO_META_CLUSTER_ID';
const networkVariable = 'ISTIO_META_NETWORK';

/** Parts of the webhook's URL with a name of their own. */
const knownKeys: ReadonlyMap<string, string> = new Map([
  ['cluster', clusterVariable],
  ['net', networkVariable],
]);
/** Stands for a slash inside a value. */
const slash = '--slash--';
const separator = ':ENV:';
/** Most variables of one URL. */
const maxVariables = 100;

function pairs(path: string): [string, string][] {
  const parts = path.replace(/\/$/, '').split('/');
  const rest = parts.slice(2);
  const joined = rest.join('/');
  if (joined.startsWith(separator)) {
    return joined
      .split(separator)
      .map((pair): [string, string] | undefined => {
        const equals = pair.indexOf('=');
        return equals > 0 ? [pair.slice(0, equals), pair.slice(equals + 1)] : undefined;
      })
      .filter((pair) => pair !== undefined);
  }
  const result: [string, string][] = [];
  // A last key without a value is dropped.
  for (let index = 0; index + 1 < rest.length; index += 2)
    result.push([rest[index] ?? '', rest[index + 1] ?? '']);
  return result;
}

/** Variables in the path of the webhook: `/inject/cluster/X/net/Y`, or `/inject/:ENV:name=value:ENV:…`. */
export function pathVariables(path: string): Record<string, string> {
  let plain = path;
  try {
    plain = decodeURIComponent(path);
  } catch {
    // Not encoded: taken as it stands.
  }
  const result: Record<string, string> = {};
  for (const [key, value] of pairs(plain).slice(0, maxVariables)) {
    const name = knownKeys.get(key) ?? key.toUpperCase();
    if (name !== '') result[name] = value.replaceAll(slash, '/');
  }
  return result;
}

/** Variables that replace those of the template, by name. */
export function clusterVariables(
  fromPath: Readonly<Record<string, string>>,
  { global }: Values,
  labels: Readonly<Record<string, string>>,
): Record<string, string> {
  const result: Record<string, string> = { ...fromPath };
  const cluster = fromPath[clusterVariable] ?? global.multiCluster.clusterName;
  const network = labels[networkLabel] ?? fromPath[networkVariable] ?? global.network;
  if (cluster !== '') result[clusterVariable] = cluster;
  if (network !== '') result[networkVariable] = network;
  return result;
}

/** Puts the variables at the end of the proxy's environment, in place of those of the same name. */
export function withClusterVariables(pod: Pod, variables: Readonly<Record<string, string>>): Pod {
  const names = Object.keys(variables).sort();
  if (names.length === 0) return pod;
  const own = (name: string): EnvVar => {
    const value = variables[name] ?? '';
    return value === '' ? { name } : { name, value };
  };
  const network = variables[networkVariable];
  const labelled =
    network === undefined
      ? pod
      : {
          ...pod,
          metadata: { ...pod.metadata, labels: { ...pod.metadata?.labels, [networkLabel]: network } },
        };
  return changeProxy(labelled, (proxy) => {
    const env = proxy.env ?? [];
    const kept = env.filter(({ name }) => !Object.hasOwn(variables, name));
    return { ...proxy, env: [...kept, ...names.map(own)] };
  });
}
