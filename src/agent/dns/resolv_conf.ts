/** What the agent reads of resolv.conf(5). */
import { isIP } from 'node:net';

/** A DNS server. */
export interface DnsUpstream {
  readonly address: string;
  readonly port: number;
}

/** Most servers that are used, as the C library does. */
const maxServers = 3;

/** The `nameserver` lines, at most three. */
export function parseResolvConf(text: string): DnsUpstream[] {
  const servers: DnsUpstream[] = [];
  for (const line of text.split('\n')) {
    const [keyword, value = ''] = line.trim().split(/\s+/);
    if (keyword === 'nameserver' && isIP(value.split('%')[0] ?? '') !== 0) {
      servers.push({ address: value, port: 53 });
    }
  }
  return servers.slice(0, maxServers);
}

/** `address`, `address:port` or `[address]:port`. Undefined when it is none of these. */
export function parseUpstream(text: string): DnsUpstream | undefined {
  if (isIP(text) !== 0) return { address: text, port: 53 };
  const match = /^(?:\[(.+)\]|([\d.]+)):(\d{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  return isIP(address) !== 0 && port > 0 && port < 65_536 ? { address, port } : undefined;
}
