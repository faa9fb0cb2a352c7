/** From configuration to rules. Pure: the same configuration gives the same rules, in the order Istio writes them. */
import { parseCidr } from './cidr_list.ts';
import type { Cidr, Family } from './cidr_list.ts';
import { validateCaptureConfig } from './config.ts';
import type { CaptureConfig } from './config.ts';
import { dnsNatRules, dnsRawRules, isDnsCaptured } from './dns_rules.ts';
import type { FamilyContext } from './family_context.ts';
import { append, chains, insert } from './rules.ts';
import type { CaptureRules, Rule } from './rules.ts';
import { mangleRules } from './mangle_rules.ts';

/**
 * The rules of a configuration.
 * @throws CaptureError `invalid_config`
 */
export function buildCaptureRules(config: CaptureConfig): CaptureRules {
  validateCaptureConfig(config);
  const v4 = {
    config,
    family: 'v4',
    loopback: config.ipv4LoopbackCidr,
    passthroughSource: '127.0.0.6/32',
  } as const;
  const v6 = { config, family: 'v6', loopback: '::1/128', passthroughSource: '::6/128' } as const;
  return { v4: familyRules(v4), v6: config.ipv6 ? familyRules(v6) : [] };
}

function familyRules(context: FamilyContext): Rule[] {
  return [...mangleRules(context), ...natRules(context), ...dnsRawRules(context)];
}

function natRules(context: FamilyContext): Rule[] {
  const { config } = context;
  return [
    ...excludedInterfaceRules(config),
    ...config.virtualInterfaces.map((name) => insert('nat', 'PREROUTING', 1, `-i ${name} -j RETURN`)),
    append('nat', chains.inbound, `-p tcp --dport ${config.inboundTunnelPort} -j RETURN`),
    append('nat', chains.redirect, `-p tcp -j REDIRECT --to-ports ${config.proxyPort}`),
    append('nat', chains.inRedirect, `-p tcp -j REDIRECT --to-ports ${config.inboundCapturePort}`),
    ...inboundRules(config),
    ...outboundRules(context),
  ];
}

function excludedInterfaceRules(config: CaptureConfig): Rule[] {
  return config.excludeInterfaces.flatMap((name) => [
    append('nat', 'PREROUTING', `-i ${name} -j RETURN`),
    append('nat', 'OUTPUT', `-o ${name} -j RETURN`),
  ]);
}

/** Inbound capture of REDIRECT mode; TPROXY captures in the mangle table. */
function inboundRules(config: CaptureConfig): Rule[] {
  if (config.inboundMode === 'TPROXY' || config.inboundPorts.length === 0) return [];
  const jump = append('nat', 'PREROUTING', `-p tcp -j ${chains.inbound}`);
  if (config.inboundPorts !== '*') {
    const capture = (port: string): Rule =>
      append('nat', chains.inbound, `-p tcp --dport ${port} -j ${chains.inRedirect}`);
    return [jump, ...config.inboundPorts.map(capture)];
  }
  const excluded =
    config.compatibility === '1.8' ? ['22', ...config.excludeInboundPorts] : config.excludeInboundPorts;
  return [
    jump,
    ...excluded.map((port) => append('nat', chains.inbound, `-p tcp --dport ${port} -j RETURN`)),
    append('nat', chains.inbound, `-p tcp -j ${chains.inRedirect}`),
  ];
}

/** The order matters: exclusions by port, the proxy's own traffic, DNS, loopback, exclusions by range, inclusions. */
function outboundRules(context: FamilyContext): Rule[] {
  const { config, loopback, passthroughSource } = context;
  const output = (match: string): Rule => append('nat', chains.output, match);
  // UDP passes the chain as well, for DNS; 1.8 let only TCP in.
  const seedRelease = config.compatibility === '1.8';
  const protocols = seedRelease ? ['tcp'] : ['tcp', 'udp'];
  return [
    append('nat', 'OUTPUT', `${seedRelease ? '-p tcp ' : ''}-j ${chains.output}`),
    ...config.excludeOutboundPorts.flatMap((port) =>
      protocols.map((protocol) => output(`-p ${protocol} --dport ${port} -j RETURN`)),
    ),
    // What the proxy hands to the application must arrive.
    output(`-o lo -s ${passthroughSource} -j RETURN`),
    ...config.proxyUids.flatMap((uid) => proxyOwnerRules(context, '--uid-owner', uid)),
    ...config.proxyGids.flatMap((gid) => proxyOwnerRules(context, '--gid-owner', gid)),
    ...ownerGroupRules(config),
    ...dnsNatRules(context),
    output(`-d ${loopback} -j RETURN`),
    ...rangesOf(config.excludeOutboundRanges, context.family).map(({ text }) =>
      output(`-d ${text} -j RETURN`),
    ),
    ...config.outboundPorts.map((port) => output(`-p tcp --dport ${port} -j ${chains.redirect}`)),
    ...includedRangeRules(context),
  ];
}

/** Three rules for an owner of the proxy: call to own virtual address, other processes on loopback, own traffic. */
function proxyOwnerRules(
  context: FamilyContext,
  option: '--uid-owner' | '--gid-owner',
  owner: string,
): Rule[] {
  const { config, loopback } = context;
  const dns = isDnsCaptured(config);
  const output = (match: string): Rule => append('nat', chains.output, match);
  // The agent's own TCP queries must not turn into inbound calls; the agent is known by its user.
  const notTunnel =
    dns && option === '--uid-owner'
      ? `-p tcp -m multiport ! --dports 53,${config.inboundTunnelPort} `
      : `-p tcp ! --dport ${config.inboundTunnelPort} `;
  const guard = config.compatibility === '1.8' ? '' : notTunnel;
  // A DNS server on loopback is to be captured, so port 53 goes on.
  const others = output(`-o lo ${dns ? '-p tcp ! --dport 53 ' : ''}-m owner ! ${option} ${owner} -j RETURN`);
  return [
    output(`-o lo ! -d ${loopback} ${guard}-m owner ${option} ${owner} -j ${chains.inRedirect}`),
    ...(includesLoopback(config) ? [] : [others]),
    output(`-m owner ${option} ${owner} -j RETURN`),
  ];
}

/** Loopback addresses named in the ranges are to be captured: then loopback traffic may not return early. */
function includesLoopback(config: CaptureConfig): boolean {
  return (
    config.outboundRanges !== '*' &&
    config.outboundRanges.some((range) => parseCidr(range)?.loopback === true)
  );
}

function ownerGroupRules(config: CaptureConfig): Rule[] {
  if (config.ownerGroups === '*')
    return config.excludeOwnerGroups.map((group) =>
      append('nat', chains.output, `-m owner --gid-owner ${group} -j RETURN`),
    );
  const noneOf = config.ownerGroups.map((group) => `-m owner ! --gid-owner ${group} `).join('');
  return [append('nat', chains.output, `${noneOf}-j RETURN`)];
}

function includedRangeRules({ config, family }: FamilyContext): Rule[] {
  const fromVirtual = (match: string): Rule[] =>
    config.virtualInterfaces.map((name) =>
      insert('nat', 'PREROUTING', 1, `-i ${name} ${match}-j ${chains.redirect}`),
    );
  const redirect = (match: string): Rule => append('nat', chains.output, `${match}-j ${chains.redirect}`);
  if (config.outboundRanges === '*') return [redirect(''), ...fromVirtual('')];
  const ranges = rangesOf(config.outboundRanges, family);
  const captured = ranges.flatMap(({ text }) => [...fromVirtual(`-d ${text} `), redirect(`-d ${text} `)]);
  const rest =
    config.compatibility === '1.8' && ranges.length > 0 ? [append('nat', chains.output, '-j RETURN')] : [];
  return [...captured, ...rest];
}

function rangesOf(list: readonly string[], family: Family): Cidr[] {
  return list.map((range) => parseCidr(range)).filter((range): range is Cidr => range?.family === family);
}
