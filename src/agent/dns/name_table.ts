/** The names that the mesh knows, out of the control plane's name table (NDS). */
import type { NameTable } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { ipBytes } from '#security/pki/ip_bytes.ts';

/** Addresses of one name, as bytes. */
export interface Addresses {
  readonly v4: readonly Buffer[];
  readonly v6: readonly Buffer[];
}

/** What a lookup finds. */
export interface FoundName extends Addresses {
  /** Name in whose place the asked one stands, when a search domain was behind it. */
  readonly alias: string | undefined;
}

/** Most names of one table; more is refused. */
export const maxNames = 200_000;

/** Names under which a service of Kubernetes is asked for besides its full name. */
function shortNames(
  host: string,
  shortname: string,
  namespace: string,
  ownNamespace: string,
  suffix: string,
): string[] {
  if (!host.endsWith(`.${suffix}`) || shortname === '') return [];
  const names = [`${shortname}.${namespace}`, `${shortname}.${namespace}.svc`];
  if (namespace === ownNamespace) names.push(shortname);
  return names;
}

/** One table, immutable. */
export class NameLookup {
  readonly #names = new Map<string, Addresses>();
  readonly #searchSuffix: string;
  /** Number of names, short ones included. */
  get size(): number {
    return this.#names.size;
  }

  /**
   * @param ownNamespace namespace whose services are known by their bare names.
   * @param domain DNS domain of the node, `default.svc.cluster.local`: names with it behind them, as resolvers with search
   * lists ask for, are answered by an alias to the name itself.
   * @throws RangeError when the table holds too many names.
   */
  constructor(table: NameTable, ownNamespace: string, domain: string) {
    const suffix = domain.includes('svc.') ? domain.slice(domain.indexOf('svc.')) : 'svc.cluster.local';
    this.#searchSuffix = `.${domain.toLowerCase()}.`;
    for (const [key, info] of Object.entries(table.table)) {
      const host = key.toLowerCase();
      const bytes = info.ips.map(ipBytes).filter((address) => address !== undefined);
      const addresses = {
        v4: bytes.filter(({ length }) => length === 4),
        v6: bytes.filter(({ length }) => length === 16),
      };
      this.#names.set(`${host}.`, addresses);
      const { shortname, namespace } = info;
      const short =
        info.registry === 'Kubernetes' ? shortNames(host, shortname, namespace, ownNamespace, suffix) : [];
      for (const name of short) if (!(name in table.table)) this.#names.set(`${name}.`, addresses);
      if (this.#names.size > maxNames) throw new RangeError(`more than ${maxNames} names`);
    }
  }

  /** The addresses of a name (lower case, with its dot); undefined when the mesh does not know it. */
  find(name: string): FoundName | undefined {
    const own = this.#names.get(name);
    if (own !== undefined) return { alias: undefined, ...own };
    const bare = name.endsWith(this.#searchSuffix) ? name.slice(0, 1 - this.#searchSuffix.length) : undefined;
    const aliased = bare === undefined ? undefined : this.#names.get(bare);
    if (aliased !== undefined) return { alias: bare, ...aliased };
    const wild = this.#findWildcard(name);
    if (wild !== undefined) return { alias: undefined, ...wild };
    const wildAliased = bare === undefined ? undefined : this.#findWildcard(bare);
    return wildAliased === undefined ? undefined : { alias: bare, ...wildAliased };
  }

  /** The longest `*.suffix` that covers the name. */
  #findWildcard(name: string): Addresses | undefined {
    for (let dot = name.indexOf('.'); dot !== -1 && dot < name.length - 1; dot = name.indexOf('.', dot + 1)) {
      const found = this.#names.get(`*${name.slice(dot)}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
