/**
 * Chooses a filter chain for a connection (envoy.config.listener.v3.FilterChainMatch). Criteria are looked at in Envoy's
 * order, the most specific value of each is taken, and there is no way back: when the rest of the criteria under it do
 * not match, the default chain takes the connection.
 */
import { toBinary } from '@bufbuild/protobuf';
import type { CidrRange } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import {
  type FilterChainMatch,
  FilterChainMatchSchema,
  FilterChainMatch_ConnectionSourceType as SourceType,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import type { Address } from '../network/address.ts';
import type { ConnectionInfo } from '../network/connection.ts';
import { type IpBytes, createCidr, isLoopback, parseIp } from '../network/ip.ts';

/** Stands for a Unix socket in look-ups by IP: matches only chains without IP criteria. */
const noIp: IpBytes = Uint8Array.of(255, 255, 255, 255);

/** Values by longest matching prefix: one hash look-up per distinct prefix length, longest first. */
class PrefixMap<T> {
  readonly #tables: { readonly width: number; readonly bits: number; readonly map: Map<string, T> }[] = [];

  getOrCreate(prefix: IpBytes, bits: number, create: () => T): T {
    let table = this.#tables.find((entry) => entry.width === prefix.length && entry.bits === bits);
    if (table === undefined) {
      table = { width: prefix.length, bits, map: new Map() };
      this.#tables.push(table);
      this.#tables.sort((a, b) => b.bits - a.bits);
    }
    const key = maskedKey(prefix, bits);
    let value = table.map.get(key);
    if (value === undefined) {
      value = create();
      table.map.set(key, value);
    }
    return value;
  }

  find(address: Address): T | undefined {
    // The longest stands first: with nothing but "any address" there is no address to be read.
    if (this.#tables[0]?.bits === 0 && !address.ip.startsWith('::ffff:')) {
      const width = address.port >= 0 && address.ip.includes(':') ? 16 : 4;
      for (const table of this.#tables) if (table.width === width) return table.map.get('');
      return undefined;
    }
    const ip = ipOf(address);
    for (const table of this.#tables) {
      if (table.width !== ip.length) continue;
      const value = table.map.get(maskedKey(ip, table.bits));
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

function maskedKey(ip: IpBytes, bits: number): string {
  let key = '';
  for (let i = 0, left = bits; left > 0; i++, left -= 8)
    key += String.fromCharCode((ip[i] as number) & (left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff));
  return key;
}

type SourcePorts<T> = Map<number, T>;
type SourceIps<T> = PrefixMap<SourcePorts<T>>;
type SourceTypes<T> = (SourceIps<T> | undefined)[];
type DirectSourceIps<T> = PrefixMap<SourceTypes<T>>;
type ApplicationProtocols<T> = Map<string, DirectSourceIps<T>>;
type TransportProtocols<T> = Map<string, ApplicationProtocols<T>>;
type ServerNames<T> = Map<string, TransportProtocols<T>>;
type DestinationIps<T> = PrefixMap<ServerNames<T>>;

function child<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = create();
    map.set(key, value);
  }
  return value;
}

function prefixes(ranges: readonly CidrRange[]): { prefix: IpBytes; bits: number }[] {
  // No range at all means every address of both families, as in Envoy's tries.
  if (ranges.length === 0)
    return [
      { prefix: new Uint8Array(4), bits: 0 },
      { prefix: new Uint8Array(16), bits: 0 },
    ];
  return ranges.map((range) => createCidr(range.addressPrefix, range.prefixLen ?? 0));
}

function orAny<V>(values: readonly V[], any: V): readonly V[] {
  return values.length === 0 ? [any] : values;
}

/** `*.example.com` is kept as `.example.com`; a lone `*` and other places of `*` are refused, as by Envoy. */
function serverNameKey(name: string): string {
  if (name.startsWith('*.')) return name.slice(1).toLowerCase();
  if (name.includes('*'))
    throw new Error(`partial wildcards are not supported in "server_names": ${JSON.stringify(name)}`);
  return name.toLowerCase();
}

/** Stable text of a match: equal matches have equal keys. */
export function filterChainMatchKey(match: FilterChainMatch | undefined): string {
  return match === undefined
    ? ''
    : Buffer.from(toBinary(FilterChainMatchSchema, match, { writeUnknownFields: false })).toString('latin1');
}

/** Built once per version of a listener. */
export class FilterChainMatcher<T> {
  readonly #ports = new Map<number, DestinationIps<T>>();
  #default: T | undefined;

  setDefault(chain: T | undefined): void {
    this.#default = chain;
  }

  /**
   * Adds a chain under every combination of its criteria.
   * @throws Error when a value is malformed, or when another chain has the same combination.
   */
  add(match: FilterChainMatch | undefined, chain: T, describe: (chain: T) => string): void {
    const type = match?.sourceType ?? SourceType.ANY;
    if ((match?.addressSuffix ?? '') !== '' || match?.suffixLen !== undefined)
      throw new Error(`filter chain ${describe(chain)}: address_suffix and suffix_len are not implemented`);
    const ips = child(this.#ports, match?.destinationPort ?? 0, () => new PrefixMap<ServerNames<T>>());
    for (const destination of prefixes(match?.prefixRanges ?? [])) {
      const names = ips.getOrCreate(destination.prefix, destination.bits, () => new Map());
      for (const name of orAny(match?.serverNames ?? [], '')) {
        const transports = child(names, serverNameKey(name), () => new Map());
        const applications = child(transports, match?.transportProtocol ?? '', () => new Map());
        for (const application of orAny(match?.applicationProtocols ?? [], '')) {
          const direct = child(applications, application, () => new PrefixMap<SourceTypes<T>>());
          for (const source of prefixes(match?.directSourcePrefixRanges ?? [])) {
            const types = direct.getOrCreate(source.prefix, source.bits, () => []);
            const sources = (types[type] ??= new PrefixMap());
            this.#addSources(sources, match, chain, describe);
          }
        }
      }
    }
  }

  #addSources(
    sources: SourceIps<T>,
    match: FilterChainMatch | undefined,
    chain: T,
    describe: (chain: T) => string,
  ): void {
    for (const source of prefixes(match?.sourcePrefixRanges ?? [])) {
      const ports = sources.getOrCreate(source.prefix, source.bits, () => new Map());
      for (const port of orAny(match?.sourcePorts ?? [], 0)) {
        const other = ports.get(port);
        if (other !== undefined)
          throw new Error(
            `filter chain '${describe(chain)}' has the same matching rules defined as '${describe(other)}'`,
          );
        ports.set(port, chain);
      }
    }
  }

  /** The chain of a connection, the default chain, or undefined. */
  find(info: ConnectionInfo): T | undefined {
    const { localAddress } = info;
    // A port that some chain names is never looked up among the chains for any port.
    const ips =
      (localAddress.port >= 0 ? this.#ports.get(localAddress.port) : undefined) ?? this.#ports.get(0);
    const names = ips?.find(localAddress);
    const transports = names === undefined ? undefined : findServerName(names, info.requestedServerName);
    const applications = transports?.get(info.transportProtocol) ?? transports?.get('');
    const direct =
      applications === undefined ? undefined : findApplication(applications, info.applicationProtocols);
    const types = direct?.find(info.directRemoteAddress);
    const sources = types === undefined ? undefined : findSourceType(types, info);
    const ports = sources?.find(info.remoteAddress);
    return ports?.get(info.remoteAddress.port) ?? ports?.get(0) ?? this.#default;
  }
}

function ipOf(address: Address): IpBytes {
  return address.port < 0 ? noIp : (parseIp(address.ip) ?? noIp);
}

function findServerName<T>(names: ServerNames<T>, serverName: string): TransportProtocols<T> | undefined {
  if (serverName !== '') {
    const exact = names.get(serverName);
    if (exact !== undefined) return exact;
    for (
      let dot = serverName.indexOf('.', 1);
      dot >= 0 && dot < serverName.length - 1;
      dot = serverName.indexOf('.', dot + 1)
    ) {
      const wildcard = names.get(serverName.slice(dot));
      if (wildcard !== undefined) return wildcard;
    }
  }
  return names.get('');
}

function findApplication<T>(
  applications: ApplicationProtocols<T>,
  offered: readonly string[],
): DirectSourceIps<T> | undefined {
  for (const protocol of offered) {
    const found = applications.get(protocol);
    if (found !== undefined) return found;
  }
  return applications.get('');
}

function findSourceType<T>(types: SourceTypes<T>, info: ConnectionInfo): SourceIps<T> | undefined {
  const local = types[SourceType.SAME_IP_OR_LOOPBACK];
  const external = types[SourceType.EXTERNAL];
  if (local !== undefined || external !== undefined) {
    const isLocal =
      info.remoteAddress.port < 0 ||
      isLoopback(ipOf(info.remoteAddress)) ||
      info.remoteAddress.ip === info.localAddress.ip;
    if (isLocal && local !== undefined) return local;
    if (!isLocal && external !== undefined) return external;
  }
  return types[SourceType.ANY];
}
