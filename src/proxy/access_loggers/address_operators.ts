/** Addresses of both sides: whole, without port, as a network of some length, the port alone. */
import type { Evaluator, OperatorTable } from '#telemetry/access_log/format.ts';
import { type Address, formatAddress } from '../network/address.ts';
import { formatIp, parseIp } from '../network/ip.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { LogEntry } from './log_entry.ts';

type Pick = (info: StreamInfo) => Address | undefined;

let lastAddress: Address | undefined;
let lastText = '';

/** Lines of one connection share its address object. */
function cachedText(address: Address): string {
  if (address !== lastAddress) {
    lastAddress = address;
    lastText = formatAddress(address);
  }
  return lastText;
}

/** The first `bits` bits of an address, in CIDR form. */
function network(address: Address, bits: number): string | undefined {
  const bytes = parseIp(address.ip);
  if (bytes === undefined) return address.ip;
  const length = Math.min(bits, bytes.length * 8);
  const masked = Buffer.from(bytes);
  for (let i = 0; i < masked.length; i++) {
    const keep = Math.max(0, Math.min(8, length - i * 8));
    masked[i] = (masked[i] as number) & (0xff00 >> keep) & 0xff;
  }
  return `${formatIp(masked)}/${length}`;
}

/** A length of a network mask: `24`, or `24:64` for IPv4 and IPv6. */
function withoutPort(argument: string | undefined, pick: Pick): Evaluator<LogEntry> {
  if (argument === undefined || argument === '') return ({ info }) => pick(info)?.ip;
  if (!/^\d{1,3}$/.test(argument) || Number(argument) > 128)
    throw new Error('expected the length of a network, 0 to 128');
  const bits = Number(argument);
  return ({ info }) => {
    const address = pick(info);
    if (address === undefined) return undefined;
    return address.port < 0 ? address.ip : network(address, bits);
  };
}

/** NAME_ADDRESS, NAME_ADDRESS_WITHOUT_PORT, NAME_PORT. */
function operators(name: string, pick: Pick): OperatorTable<LogEntry> {
  return {
    [`${name}_ADDRESS`]: () => (entry) => {
      const address = pick(entry.info);
      return address === undefined ? undefined : formatAddress(address);
    },
    [`${name}_ADDRESS_WITHOUT_PORT`]: (argument) => withoutPort(argument, pick),
    [`${name}_PORT`]: () => (entry) => {
      const address = pick(entry.info);
      return address === undefined || address.port < 0 ? undefined : address.port;
    },
  };
}

const upstreamHost: Pick = (info) => info.upstream?.hostAddress;

export const addressOperators: OperatorTable<LogEntry> = {
  ...operators('DOWNSTREAM_REMOTE', (info) => info.remoteAddress),
  ...operators('DOWNSTREAM_DIRECT_REMOTE', (info) => info.connection.directRemoteAddress),
  ...operators('DOWNSTREAM_LOCAL', (info) => info.connection.localAddress),
  ...operators('DOWNSTREAM_DIRECT_LOCAL', (info) => info.connection.directLocalAddress),
  ...operators('UPSTREAM_LOCAL', (info) => info.upstream?.localAddress),
  ...operators('UPSTREAM_REMOTE', upstreamHost),
  UPSTREAM_HOST: () => (entry) => {
    const address = upstreamHost(entry.info);
    return address === undefined ? undefined : cachedText(address);
  },
  UPSTREAM_CONNECTION_ID: () => (entry) => entry.info.upstream?.connectionId,
};
