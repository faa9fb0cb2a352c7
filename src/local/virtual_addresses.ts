/** Virtual addresses of Services (`spec.clusterIP`): what the API server allocates in a cluster. */
import type { ServiceBody } from '#config/kinds/kubernetes/types.ts';
import type { Resource } from '#config/resource.ts';

/** Gives each Service an address of 10.96.0.0/16 that stays as long as the mesh runs. */
export class VirtualAddresses {
  readonly #assigned = new Map<string, string>();
  readonly #used = new Set<string>();
  #next = 100;

  /** The Service with `clusterIP` filled in; headless, ExternalName and addressed Services are kept as they are. */
  assign(service: Resource<ServiceBody>): Resource<ServiceBody> {
    const spec = service.body.spec ?? {};
    if (spec.clusterIP !== undefined && spec.clusterIP !== '') {
      this.#used.add(spec.clusterIP);
      return service;
    }
    if (spec.type === 'ExternalName') return service;
    const key = `${service.metadata.namespace}/${service.metadata.name}`;
    let address = this.#assigned.get(key);
    if (address === undefined) {
      do {
        address = `10.96.${(this.#next >> 8) & 0xff}.${this.#next & 0xff}`;
        this.#next++;
      } while (this.#used.has(address));
      this.#assigned.set(key, address);
      this.#used.add(address);
    }
    return {
      ...service,
      body: { ...service.body, spec: { ...spec, clusterIP: address, clusterIPs: [address] } },
    };
  }
}
