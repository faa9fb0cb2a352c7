/** An IP endpoint or a Unix socket path (envoy.config.core.v3.Address). */
export interface Address {
  /** IPv4, IPv6 (no brackets), or the path when `port` is -1. */
  readonly ip: string;
  /** 0-65535; -1 for a Unix socket (`pipe`). */
  readonly port: number;
}

/** `10.0.0.1:80`, `[::1]:80` or the socket's path: as Envoy prints addresses in logs. */
export function formatAddress(address: Address): string {
  if (address.port < 0) return address.ip;
  return address.ip.includes(':') ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
}

/** IPv4-mapped IPv6 (`::ffff:10.0.0.1`) to plain IPv4; a dual-stack socket reports the mapped form. */
export function unmapIpv4(ip: string): string {
  return ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip;
}
