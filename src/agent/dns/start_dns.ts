/** Starts the DNS proxy of an agent with the upstream servers that the options or resolv.conf name. */
import { readFile } from 'node:fs/promises';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { AgentOptions, DnsOptions } from '../options.ts';
import { DnsServer } from './dns_server.ts';
import { parseResolvConf, parseUpstream, type DnsUpstream } from './resolv_conf.ts';

async function findUpstreams(options: AgentOptions, dns: DnsOptions): Promise<DnsUpstream[]> {
  if (dns.upstreams !== undefined) {
    return dns.upstreams.map((text) => {
      const upstream = parseUpstream(text);
      if (upstream === undefined) throw new Error(`${JSON.stringify(text)} is no DNS server address`);
      return upstream;
    });
  }
  const path = dns.resolvConfPath ?? '/etc/resolv.conf';
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    options.log.warn('no upstream DNS servers', { path, error });
    return '';
  });
  const { address, port } = options.endpoints.dns;
  // A server that is the proxy itself would be asked for ever.
  return parseResolvConf(text).filter((server) => server.address !== address || server.port !== port);
}

export async function startDns(
  options: AgentOptions,
  dns: DnsOptions,
  metrics: MetricsRegistry,
): Promise<{ readonly server: DnsServer; readonly port: number }> {
  const server = new DnsServer({
    endpoint: options.endpoints.dns,
    namespace: options.podNamespace,
    domain: options.domain,
    upstreams: await findUpstreams(options, dns),
    forwardParallel: dns.forwardParallel ?? false,
    metrics,
    log: options.log,
  });
  return { server, port: await server.listen() };
}
