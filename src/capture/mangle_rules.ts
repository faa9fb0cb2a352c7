/** The mangle table: dropping invalid packets, and the whole of TPROXY mode. */
import type { FamilyContext } from './family_context.ts';
import { append, chains, insert } from './rules.ts';
import type { Rule } from './rules.ts';

/** Marks the proxy's calls to its own workload by pod address, which go through inbound capture. */
const ownCallMark = 1338;

/** The mangle rules of one family, in order. */
export function mangleRules(context: FamilyContext): Rule[] {
  const { config } = context;
  const isTproxy = config.inboundMode === 'TPROXY';
  return [
    ...(isTproxy ? excludedInterfaceRules(context) : []),
    ...(config.dropInvalid
      ? [
          append('mangle', 'PREROUTING', `-m conntrack --ctstate INVALID -j ${chains.drop}`),
          append('mangle', chains.drop, '-j DROP'),
        ]
      : []),
    ...(isTproxy ? inboundRules(context) : []),
    ...(isTproxy ? markRules(context) : []),
  ];
}

function excludedInterfaceRules({ config }: FamilyContext): Rule[] {
  return config.excludeInterfaces.flatMap((name) => [
    append('mangle', 'PREROUTING', `-i ${name} -j RETURN`),
    append('mangle', 'OUTPUT', `-o ${name} -j RETURN`),
  ]);
}

function inboundRules({ config, loopback }: FamilyContext): Rule[] {
  if (config.inboundPorts.length === 0) return [];
  const inbound = (match: string): Rule => append('mangle', chains.inbound, match);
  // A packet of an established socket is routed to loopback; a new connection is handed to the proxy.
  const capture = (match: string): Rule[] => [
    inbound(`-p tcp ${match}-m conntrack --ctstate RELATED,ESTABLISHED -j ${chains.divert}`),
    inbound(`-p tcp ${match}-j ${chains.tproxy}`),
  ];
  const onPort = `-j TPROXY --tproxy-mark ${config.tproxyMark}/0xffffffff --on-port ${config.inboundCapturePort}`;
  return [
    append('mangle', chains.divert, `-j MARK --set-mark ${config.tproxyMark}`),
    append('mangle', chains.divert, '-j ACCEPT'),
    append('mangle', chains.tproxy, `! -d ${loopback} -p tcp ${onPort}`),
    append('mangle', 'PREROUTING', `-p tcp -j ${chains.inbound}`),
    ...(config.inboundPorts === '*'
      ? [
          ...config.excludeInboundPorts.map((port) => inbound(`-p tcp --dport ${port} -j RETURN`)),
          ...capture(''),
        ]
      : config.inboundPorts.flatMap((port) => capture(`--dport ${port} `))),
  ];
}

/** Marks follow a connection: saved on the way in, restored on the way out, so that replies find the policy route. */
function markRules({ config, loopback, passthroughSource }: FamilyContext): Rule[] {
  const { tproxyMark } = config;
  const ownCall = (owner: string): Rule =>
    append(
      'mangle',
      'OUTPUT',
      `! -d ${loopback} -p tcp -o lo -m owner ${owner} -j MARK --set-mark ${ownCallMark}`,
    );
  return [
    append('mangle', 'PREROUTING', `-p tcp -m mark --mark ${tproxyMark} -j CONNMARK --save-mark`),
    append('mangle', 'OUTPUT', `-p tcp -o lo -m mark --mark ${tproxyMark} -j RETURN`),
    ...config.proxyUids.map((uid) => ownCall(`--uid-owner ${uid}`)),
    ...config.proxyGids.map((gid) => ownCall(`--gid-owner ${gid}`)),
    append('mangle', 'OUTPUT', `-p tcp -m connmark --mark ${tproxyMark} -j CONNMARK --restore-mark`),
    insert('mangle', chains.inbound, 1, `-p tcp -m mark --mark ${tproxyMark} -j RETURN`),
    insert('mangle', chains.inbound, 2, `-p tcp -s ${passthroughSource} -i lo -j RETURN`),
    insert('mangle', chains.inbound, 3, `-p tcp -i lo -m mark ! --mark ${ownCallMark} -j RETURN`),
  ];
}
