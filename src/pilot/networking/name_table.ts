/** NDS: the names that the agent's DNS proxy answers by itself. */
import { create } from '@bufbuild/protobuf';
import {
  type NameTable,
  type NameTable_NameInfo,
  NameTable_NameInfoSchema,
  NameTableSchema,
} from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { allEndpoints } from '../model/endpoint_index.ts';
import type { Proxy } from '../model/proxy.ts';
import { outboundView } from '../model/proxy_view.ts';
import { memoize, type PushContext } from '../model/push_context.ts';
import type { Service } from '../model/service.ts';

function nameInfo(service: Service, ips: readonly string[]): NameTable_NameInfo {
  const kubernetes = service.registry === 'Kubernetes';
  return create(NameTable_NameInfoSchema, {
    ips: [...ips],
    registry: service.registry,
    ...(kubernetes ? { shortname: service.name, namespace: service.namespace } : {}),
  });
}

/** Names of a headless service: itself with all pods, and each pod that has a host name. */
function headlessNames(push: PushContext, service: Service, table: Record<string, NameTable_NameInfo>): void {
  const addresses = new Set<string>();
  for (const endpoints of allEndpoints(push.endpoints, service).values()) {
    for (const endpoint of endpoints) {
      addresses.add(endpoint.address);
      if (endpoint.podHostname === '') continue;
      const name = `${endpoint.podHostname}.${service.hostname}`;
      const info = nameInfo(service, [endpoint.address]);
      info.shortname = `${endpoint.podHostname}.${service.name}`;
      table[name] = info;
    }
  }
  if (addresses.size > 0) table[service.hostname] = nameInfo(service, [...addresses]);
}

function buildTable(push: PushContext, services: readonly Service[]): NameTable {
  const table: Record<string, NameTable_NameInfo> = {};
  for (const service of services) {
    if (service.addresses.length > 0) table[service.hostname] = nameInfo(service, service.addresses);
    else if (service.registry === 'Kubernetes') headlessNames(push, service, table);
    const own = table[service.hostname];
    if (own === undefined) continue;
    for (const alias of service.aliases) {
      table[alias.hostname] = create(NameTable_NameInfoSchema, {
        ...own,
        shortname: alias.name,
        namespace: alias.namespace,
      });
    }
  }
  return create(NameTableSchema, { table });
}

/** The name table of a proxy: services with virtual addresses, headless services with the addresses of their pods. */
export function buildNameTable(proxy: Proxy, push: PushContext): NameTable {
  const view = outboundView(push, proxy);
  return memoize(push, `names ${view.key}`, () => buildTable(push, view.scope.services));
}
