/** The names under which a service is asked for. */
import { isIPv6 } from 'node:net';
import type { MeshIndex } from '../../model/mesh_index.ts';
import { isHeadless, type Service } from '../../model/service.ts';

function kubernetesNames(
  service: { readonly hostname: string; readonly name: string; readonly namespace: string },
  callerNamespace: string,
): string[] {
  const { hostname, name, namespace } = service;
  return [
    hostname,
    // With a trailing dot a name is complete as it stands; some resolvers' callers keep the dot.
    `${hostname}.`,
    ...(namespace === callerNamespace ? [name] : []),
    `${name}.${namespace}.svc`,
    `${name}.${namespace}`,
  ];
}

/** Host header values of a service without ports: full and short names, virtual addresses, aliases. */
export function serviceDomains(service: Service, callerNamespace: string, mesh: MeshIndex): string[] {
  const names =
    service.registry === 'Kubernetes' && service.hostname.endsWith(`.svc.${mesh.domainSuffix}`)
      ? kubernetesNames(service, callerNamespace)
      : [service.hostname];
  for (const alias of service.aliases) names.push(...kubernetesNames(alias, callerNamespace));
  if (isHeadless(service) && service.registry === 'Kubernetes') {
    // Pods of a StatefulSet are asked for by their own names below the service's.
    names.push(...names.map((name) => `*.${name}`));
  }
  for (const address of service.addresses) names.push(isIPv6(address) ? `[${address}]` : address);
  return names;
}

/** Names with a port; without one only where the port is the default of HTTP. */
export function withPort(domains: readonly string[], port: number): string[] {
  return domains.flatMap((domain) => (port === 80 ? [domain, `${domain}:80`] : [`${domain}:${port}`]));
}
