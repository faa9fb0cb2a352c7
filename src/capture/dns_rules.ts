/** DNS capture: queries go to the agent, and the agent's queries live in a connection tracking zone of their own. */
import type { FamilyContext } from './family_context.ts';
import type { CaptureConfig } from './config.ts';
import { append, chains } from './rules.ts';
import type { Rule } from './rules.ts';

/** The agent's DNS port. */
const agentDnsPort = 15053;

/** Whether any DNS traffic is captured; capture by servers with no server known is off. */
export function isDnsCaptured({ dns }: CaptureConfig): boolean {
  return dns.kind === 'all' || (dns.kind === 'servers' && dns.v4.length + dns.v6.length > 0);
}

/** Destination matches of this family's queries; empty when none of it is captured. */
function queryTargets({ config: { dns }, family }: FamilyContext): string[] {
  if (dns.kind === 'off') return [];
  if (dns.kind === 'all') return [''];
  return dns[family].map((server) => `${server}/${family === 'v4' ? 32 : 128} `);
}

/** Queries over TCP and UDP to the agent. */
export function dnsNatRules(context: FamilyContext): Rule[] {
  const targets = queryTargets(context);
  if (!isDnsCaptured(context.config) || targets.length === 0) return [];
  const redirect = (protocol: string, option: string, target: string): Rule =>
    append(
      'nat',
      chains.outputDns,
      `-p ${protocol} --dport 53 ${target && `-d ${target}`}-j REDIRECT ${option} ${agentDnsPort}`,
    );
  return [
    append('nat', chains.output, `-j ${chains.outputDns}`),
    ...targets.map((target) => redirect('tcp', '--to-ports', target)),
    ...targets.map((target) => redirect('udp', '--to-port', target)),
  ];
}

/**
 * Zones keep the query of the application (zone 2) and the agent's own query to the same server (zone 1) apart: both may
 * use the same UDP ports at the same time.
 */
export function dnsRawRules(context: FamilyContext): Rule[] {
  const { config } = context;
  if (!isDnsCaptured(config)) return [];
  const zone = (chain: string, match: string, number: 1 | 2): Rule =>
    append('raw', chain, `-p udp ${match}-j CT --zone ${number}`);
  const owners = [
    ...config.proxyUids.map((uid) => `-m owner --uid-owner ${uid} `),
    ...config.proxyGids.map((gid) => `-m owner --gid-owner ${gid} `),
  ];
  const targets = queryTargets(context);
  return [
    append('raw', 'OUTPUT', `-j ${chains.outputDns}`),
    ...owners.flatMap((owner) => [
      zone(chains.outputDns, `--dport 53 ${owner}`, 1),
      zone(chains.outputDns, `--sport ${agentDnsPort} ${owner}`, 2),
    ]),
    ...(targets.length > 0 ? [append('raw', 'PREROUTING', `-j ${chains.inbound}`)] : []),
    ...targets.flatMap((target) => [
      zone(chains.outputDns, `--dport 53 ${target && `-d ${target}`}`, 2),
      zone(chains.inbound, `--sport 53 ${target && `-s ${target}`}`, 1),
    ]),
  ];
}
