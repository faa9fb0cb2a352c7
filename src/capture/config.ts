/** What packet capture is told to do: the typed form of `istio-iptables` flags and of the CNI plugin's annotations. */
import { parseCidr } from './cidr_list.ts';
import { CaptureError } from './capture_error.ts';

/** Which release's rules are written. `1.8` gives the rules of Istio 1.8.1, `current` those of today's Istio. */
export type CaptureCompatibility = 'current' | '1.8';

/** DNS traffic that goes to the agent's port 15053. `servers`: only port 53 of these addresses; `all`: any port 53. */
export type DnsCapture =
  | { readonly kind: 'off' }
  | { readonly kind: 'all' }
  | { readonly kind: 'servers'; readonly v4: readonly string[]; readonly v6: readonly string[] };

/** Everything the rules depend on. Ports are 1-65535; lists keep their order, rules follow it. */
export interface CaptureConfig {
  readonly compatibility: CaptureCompatibility;
  /** Outbound connections go here. Default 15001. */
  readonly proxyPort: number;
  /** Inbound connections go here. Default 15006. */
  readonly inboundCapturePort: number;
  /** Never captured inbound (mTLS tunnel). Default 15008. */
  readonly inboundTunnelPort: number;
  /** Users whose own traffic is not captured, numbers or names. Default 1337. */
  readonly proxyUids: readonly string[];
  /** Groups whose own traffic is not captured, numbers or names. Default 1337. */
  readonly proxyGids: readonly string[];
  /** `REDIRECT` rewrites the destination, `TPROXY` keeps addresses. Default `REDIRECT`. */
  readonly inboundMode: 'REDIRECT' | 'TPROXY';
  /** Packet mark of TPROXY mode. Default 1337. */
  readonly tproxyMark: number;
  /** Routing table of TPROXY mode. Default 133. */
  readonly tproxyRouteTable: number;
  /** Inbound ports to capture, `*` for all, empty for none. Default none. */
  readonly inboundPorts: '*' | readonly string[];
  /** Inbound ports left alone when `inboundPorts` is `*`. */
  readonly excludeInboundPorts: readonly string[];
  /** Outbound ports captured whatever the address. */
  readonly outboundPorts: readonly string[];
  /** Outbound ports never captured. */
  readonly excludeOutboundPorts: readonly string[];
  /** Destination ranges to capture (CIDR, both families), `*` for all, empty for none. Default none. */
  readonly outboundRanges: '*' | readonly string[];
  /** Destination ranges never captured (CIDR, both families). */
  readonly excludeOutboundRanges: readonly string[];
  /** Interfaces whose traffic is never captured. */
  readonly excludeInterfaces: readonly string[];
  /** Interfaces of virtual machines: what comes in there counts as outbound. */
  readonly virtualInterfaces: readonly string[];
  /** Groups whose outgoing traffic is captured, `*` for all. At most 64. Default `*`. */
  readonly ownerGroups: '*' | readonly string[];
  /** Groups left alone when `ownerGroups` is `*`. */
  readonly excludeOwnerGroups: readonly string[];
  /** What counts as the application's loopback, IPv4. Mask 8-32. Default 127.0.0.1/32. */
  readonly ipv4LoopbackCidr: string;
  /** Write IPv6 rules too. */
  readonly ipv6: boolean;
  /** Drop packets outside the connection's window in place of resetting. Default false. */
  readonly dropInvalid: boolean;
  readonly dns: DnsCapture;
}

/** Istio's defaults: nothing inbound and nothing outbound is captured until asked for. */
export const defaultCaptureConfig: CaptureConfig = {
  compatibility: 'current',
  proxyPort: 15001,
  inboundCapturePort: 15006,
  inboundTunnelPort: 15008,
  proxyUids: ['1337'],
  proxyGids: ['1337'],
  inboundMode: 'REDIRECT',
  tproxyMark: 1337,
  tproxyRouteTable: 133,
  inboundPorts: [],
  excludeInboundPorts: [],
  outboundPorts: [],
  excludeOutboundPorts: [],
  outboundRanges: [],
  excludeOutboundRanges: [],
  excludeInterfaces: [],
  virtualInterfaces: [],
  ownerGroups: '*',
  excludeOwnerGroups: [],
  ipv4LoopbackCidr: '127.0.0.1/32',
  ipv6: false,
  dropInvalid: false,
  dns: { kind: 'off' },
};

/** One rule holds all included groups, and kernels bound the matches of a rule. */
const maxOwnerGroups = 64;
/** Bounds each list, so that no rule set grows without limit. */
const maxListLength = 1024;

/** Splits a comma separated list; empty parts are dropped. */
export function splitList(list: string): string[] {
  return list.split(',').filter((part) => part !== '');
}

/** As `splitList`, with the wildcard `*` kept as such. */
export function splitListOrAll(list: string): '*' | string[] {
  return list === '*' ? '*' : splitList(list);
}

const portForm = /^\d{1,5}(:\d{1,5})?$/;
const ownerForm = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?$/;
const interfaceForm = /^[^\s/'"]{1,15}$/;

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

/**
 * All problems of a configuration, one line each; empty when it can become rules. Also keeps white space and other
 * syntax of iptables-restore out of values.
 */
export function captureConfigProblems(config: CaptureConfig): string[] {
  const problems: string[] = [];
  const check = (ok: boolean, problem: string): void => void (ok || problems.push(problem));
  const checkEach = (
    name: string,
    list: '*' | readonly string[],
    test: (value: string) => boolean,
    what: string,
  ): void => {
    if (list === '*') return;
    check(list.length <= maxListLength, `${name}: more than ${maxListLength} entries`);
    for (const value of list) check(test(value), `${name}: ${JSON.stringify(value)} is not ${what}`);
  };
  const isPortOrRange = (value: string): boolean =>
    portForm.test(value) && value.split(':').every((part) => isPort(Number(part)));
  const isCidr = (value: string): boolean => parseCidr(value) !== undefined;

  for (const name of ['proxyPort', 'inboundCapturePort', 'inboundTunnelPort'] as const)
    check(isPort(config[name]), `${name}: ${config[name]} is not a port`);
  for (const name of ['tproxyMark', 'tproxyRouteTable'] as const)
    check(
      Number.isInteger(config[name]) && config[name] > 0,
      `${name}: ${config[name]} is not a positive number`,
    );
  for (const name of [
    'inboundPorts',
    'excludeInboundPorts',
    'outboundPorts',
    'excludeOutboundPorts',
  ] as const)
    checkEach(name, config[name], isPortOrRange, 'a port');
  checkEach('outboundRanges', config.outboundRanges, isCidr, 'a CIDR range');
  checkEach('excludeOutboundRanges', config.excludeOutboundRanges, isCidr, 'a CIDR range');
  for (const name of ['excludeInterfaces', 'virtualInterfaces'] as const)
    checkEach(name, config[name], (value) => interfaceForm.test(value), 'an interface');
  for (const name of ['proxyUids', 'proxyGids', 'ownerGroups', 'excludeOwnerGroups'] as const)
    checkEach(name, config[name], (value) => ownerForm.test(value), 'a user or group');
  if (config.ownerGroups !== '*')
    check(
      config.ownerGroups.length <= maxOwnerGroups,
      `ownerGroups: ${config.ownerGroups.length} groups, at most ${maxOwnerGroups} can be captured`,
    );
  const loopback = parseCidr(config.ipv4LoopbackCidr);
  check(
    loopback?.family === 'v4' && loopback.loopback && loopback.bits >= 8,
    `ipv4LoopbackCidr: ${JSON.stringify(config.ipv4LoopbackCidr)} is not an IPv4 loopback range with a mask of 8 to 32`,
  );
  if (config.compatibility === '1.8') {
    const laterFeatures: Record<string, boolean> = {
      TPROXY: config.inboundMode === 'TPROXY',
      'DNS capture': config.dns.kind !== 'off',
      'dropping invalid packets': config.dropInvalid,
      'excluded interfaces': config.excludeInterfaces.length > 0,
      'owner groups': config.ownerGroups !== '*' || config.excludeOwnerGroups.length > 0,
    };
    for (const [feature, used] of Object.entries(laterFeatures))
      check(!used, `compatibility 1.8 does not offer ${feature}`);
  }
  return problems;
}

/** Throws `invalid_config` with all problems. */
export function validateCaptureConfig(config: CaptureConfig): void {
  const problems = captureConfigProblems(config);
  if (problems.length > 0) throw new CaptureError('invalid_config', problems.join('; '));
}
