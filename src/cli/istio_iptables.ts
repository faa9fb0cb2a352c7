/** `istio-iptables`: captures the traffic of this network namespace. Flags, short names and variables as in Istio. */
import { appendFileSync } from 'node:fs';
import { Command } from 'commander';
import { createLogger, logLevels } from '#base/log.ts';
import type { LogLevel, Logger } from '#base/log.ts';
import { captureTraffic } from '#capture/capture.ts';
import type { CaptureOptions } from '#capture/capture.ts';
import { CaptureError } from '#capture/capture_error.ts';
import { splitList, splitListOrAll, validateCaptureConfig } from '#capture/config.ts';
import type { CaptureConfig, DnsCapture } from '#capture/config.ts';
import { detectIpv6, findUid, readDnsServers } from '#capture/host.ts';
import { validateCapture } from '#capture/validate_capture.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Exit code by which the CNI repair controller knows that a pod started before its rules. */
const validationExitCode = 126;

/** One flag. Its variable is its name in capitals; `env` names another one. */
interface Flag {
  readonly short?: string;
  readonly default: string;
  readonly env?: string;
  /** Given without a value it is `true`. */
  readonly isSwitch?: true;
  readonly help: string;
}

const flags = {
  'envoy-port': { short: 'p', default: '15001', help: 'Port to which outbound TCP traffic is redirected.' },
  'inbound-capture-port': {
    short: 'z',
    default: '15006',
    help: 'Port to which inbound TCP traffic is redirected.',
  },
  'inbound-tunnel-port': {
    short: 'e',
    default: '15008',
    help: 'Port of the tunnel; never captured inbound.',
  },
  'proxy-uid': {
    short: 'u',
    default: '',
    help: 'Users whose traffic is not captured, comma separated; empty: the user named by ENVOY_USER (istio-proxy), or 1337.',
  },
  'proxy-gid': { short: 'g', default: '', help: 'Groups whose traffic is not captured; empty: same as -u.' },
  'istio-inbound-interception-mode': {
    short: 'm',
    default: '',
    help: 'How inbound connections reach the proxy, REDIRECT or TPROXY; empty: REDIRECT.',
  },
  'istio-inbound-ports': {
    short: 'b',
    default: '',
    help: 'Inbound ports to capture, comma separated; "*": all; empty: none.',
  },
  'istio-local-exclude-ports': { short: 'd', default: '', help: 'Inbound ports left alone when -b is "*".' },
  'istio-exclude-interfaces': { short: 'c', default: '', help: 'Interfaces whose traffic is not captured.' },
  'istio-service-cidr': {
    short: 'i',
    default: '',
    help: 'Destination ranges to capture, comma separated CIDR; "*": all; empty: none.',
  },
  'istio-service-exclude-cidr': { short: 'x', default: '', help: 'Destination ranges left alone.' },
  'istio-outbound-ports': {
    short: 'q',
    default: '',
    help: 'Outbound ports captured whatever the destination.',
  },
  'istio-local-outbound-ports-exclude': { short: 'o', default: '', help: 'Outbound ports left alone.' },
  'kube-virt-interfaces': {
    short: 'k',
    default: '',
    help: 'Interfaces of virtual machines, whose incoming traffic counts as outbound.',
  },
  'istio-inbound-tproxy-mark': { short: 't', default: '1337', help: 'Packet mark of TPROXY mode.' },
  'istio-inbound-tproxy-route-table': { short: 'r', default: '133', help: 'Routing table of TPROXY mode.' },
  'dry-run': {
    short: 'n',
    default: 'false',
    isSwitch: true,
    help: 'Change nothing, print what would be done.',
  },
  'iptables-probe-port': { default: '15002', help: 'Port that validation connects to.' },
  'probe-timeout': { default: '5s', help: 'Time after which validation fails.' },
  'skip-rule-apply': { default: 'false', isSwitch: true, help: 'Apply no rules.' },
  'run-validation': {
    default: 'false',
    isSwitch: true,
    help: 'Check that capture works; exit code 126 if not.',
  },
  'redirect-dns': {
    default: 'false',
    env: 'ISTIO_META_DNS_CAPTURE',
    isSwitch: true,
    help: 'Capture DNS queries to the servers of /etc/resolv.conf.',
  },
  'drop-invalid': {
    default: 'false',
    env: 'INVALID_DROP',
    isSwitch: true,
    help: 'Drop packets outside the window of their connection.',
  },
  'dual-stack': {
    default: 'false',
    env: 'ISTIO_DUAL_STACK',
    isSwitch: true,
    help: 'Write IPv6 rules when any local address is an IPv6 one.',
  },
  'capture-all-dns': {
    default: 'false',
    isSwitch: true,
    help: 'With --redirect-dns: capture queries to any server.',
  },
  'network-namespace': { default: '', help: 'File of the network namespace to work in.' },
  'cni-mode': {
    default: 'false',
    isSwitch: true,
    help: "Work on a pod's namespace from the node: lock per namespace.",
  },
  reconcile: { default: 'false', isSwitch: true, help: 'Exchange other capture rules in place of failing.' },
  'cleanup-only': { default: 'false', isSwitch: true, help: 'Remove capture rules and apply none.' },
  'force-apply': { default: 'false', isSwitch: true, help: 'Apply even when all rules seem to be in place.' },
  'native-nftables': {
    default: 'false',
    isSwitch: true,
    help: 'Not available: rules are written by iptables.',
  },
  'force-iptables-binary': { default: '', help: 'Use "legacy" or "nft" in place of detecting.' },
  'iptables-version': {
    default: '',
    help: 'Same as --force-iptables-binary; also iptables-legacy, iptables-nft.',
  },
  'compatibility-version': {
    default: '',
    help: 'Write the rules of an earlier release; known: 1.8, the default where DNS_AGENT is set.',
  },
  log_output_level: { default: 'default:info', help: 'Log level, or scope:level pairs, comma separated.' },
  log_as_json: { default: 'false', isSwitch: true, help: 'Log lines as JSON.' },
} as const satisfies Record<string, Flag>;

type FlagName = keyof typeof flags;

function variableOf(name: string): string {
  return name.toUpperCase().replaceAll('-', '_');
}

function attributeOf(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Reads values: flag, then variable, then default. */
function createReader(given: Readonly<Record<string, unknown>>, env: Environment) {
  const text = (name: FlagName): string => {
    const flag: Flag = flags[name];
    const value = given[attributeOf(name)] ?? env[variableOf(name)] ?? (flag.env && env[flag.env]);
    return value === true ? 'true' : typeof value === 'string' ? value : flag.default;
  };
  const invalid = (name: FlagName, what: string): CaptureError =>
    new CaptureError('invalid_config', `--${name}: ${JSON.stringify(text(name))} is not ${what}`);
  return {
    text,
    on(name: FlagName): boolean {
      const value = text(name);
      // The forms strconv.ParseBool takes; an empty variable counts as not set.
      if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
      if (/^(0|f|F|false|FALSE|False|)$/.test(value)) return false;
      throw invalid(name, 'true or false');
    },
    number(name: FlagName): number {
      const value = text(name) || flags[name].default;
      if (!/^\d{1,10}$/.test(value)) throw invalid(name, 'a number');
      return Number(value);
    },
    durationMs(name: FlagName): number {
      const value = text(name);
      const unitMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
      if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(value)) throw invalid(name, 'a duration such as 5s');
      const parts = value.matchAll(/([\d.]+)(ms|s|m|h)/g);
      return parts.reduce((sum, [, count, unit = 's']) => sum + Number(count) * (unitMs[unit] ?? 0), 0);
    },
    oneOf<T extends string>(name: FlagName, values: Readonly<Record<string, T>>): T {
      const value = values[text(name)];
      if (value === undefined)
        throw invalid(name, `one of ${Object.keys(values).filter(Boolean).join(', ')}`);
      return value;
    },
  };
}

type Reader = ReturnType<typeof createReader>;

async function readDns(reader: Reader, logger: Logger): Promise<DnsCapture> {
  if (!reader.on('redirect-dns')) return { kind: 'off' };
  if (reader.on('capture-all-dns')) return { kind: 'all' };
  const servers = await readDnsServers();
  if (servers.v4.length + servers.v6.length === 0)
    logger.warn('DNS is to be captured, but no server is known: DNS capture is off');
  return { kind: 'servers', ...servers };
}

async function readConfig(reader: Reader, env: Environment, logger: Logger): Promise<CaptureConfig> {
  const proxyUid =
    reader.text('proxy-uid') || ((await findUid(env['ENVOY_USER'] ?? 'istio-proxy')) ?? '1337');
  const list = (name: FlagName): string[] => splitList(reader.text(name));
  const config: CaptureConfig = {
    compatibility: reader.oneOf('compatibility-version', {
      // Only the init container of Istio 1.8 has this variable; its arguments name no release.
      '': env['DNS_AGENT'] === undefined ? 'current' : '1.8',
      current: 'current',
      '1.8': '1.8',
    }),
    proxyPort: reader.number('envoy-port'),
    inboundCapturePort: reader.number('inbound-capture-port'),
    inboundTunnelPort: reader.number('inbound-tunnel-port'),
    proxyUids: splitList(proxyUid),
    proxyGids: splitList(reader.text('proxy-gid') || proxyUid),
    inboundMode: reader.oneOf('istio-inbound-interception-mode', {
      '': 'REDIRECT',
      REDIRECT: 'REDIRECT',
      TPROXY: 'TPROXY',
    }),
    tproxyMark: reader.number('istio-inbound-tproxy-mark'),
    tproxyRouteTable: reader.number('istio-inbound-tproxy-route-table'),
    inboundPorts: splitListOrAll(reader.text('istio-inbound-ports')),
    excludeInboundPorts: list('istio-local-exclude-ports'),
    outboundPorts: list('istio-outbound-ports'),
    excludeOutboundPorts: list('istio-local-outbound-ports-exclude'),
    outboundRanges: splitListOrAll(reader.text('istio-service-cidr')),
    excludeOutboundRanges: list('istio-service-exclude-cidr'),
    excludeInterfaces: list('istio-exclude-interfaces'),
    virtualInterfaces: list('kube-virt-interfaces'),
    ownerGroups: splitListOrAll(env['ISTIO_OUTBOUND_OWNER_GROUPS'] ?? '*'),
    excludeOwnerGroups: splitList(env['ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE'] ?? ''),
    ipv4LoopbackCidr: env['ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR'] ?? '127.0.0.1/32',
    ipv6: await detectIpv6(reader.on('dual-stack')),
    dropInvalid: reader.on('drop-invalid'),
    dns: await readDns(reader, logger),
  };
  validateCaptureConfig(config);
  return config;
}

function readOptions(reader: Reader, env: Environment): CaptureOptions {
  const networkNamespace = reader.text('network-namespace');
  const variants = {
    '': '',
    legacy: 'legacy',
    nft: 'nft',
    iptables: '',
    'iptables-legacy': 'legacy',
    'iptables-nft': 'nft',
  } as const;
  const variant =
    reader.oneOf('force-iptables-binary', variants) || reader.oneOf('iptables-version', variants);
  const file = env['DRY_RUN_FILE_PATH'];
  const record = (text: string): void => {
    process.stdout.write(text);
    if (file) appendFileSync(file, text);
  };
  return {
    ...(networkNamespace !== '' && { networkNamespace }),
    ...(variant !== '' && { variant }),
    ownLock: reader.on('cni-mode'),
    reconcile: reader.on('reconcile'),
    cleanupOnly: reader.on('cleanup-only'),
    forceApply: reader.on('force-apply'),
    ...(reader.on('dry-run') && { record }),
  };
}

/** Runs the command; the exit code. */
async function run(given: Readonly<Record<string, unknown>>, env: Environment): Promise<number> {
  const reader = createReader(given, env);
  const logger = createLogger(readLogOptions(reader), 'iptables');
  try {
    if (reader.on('native-nftables'))
      throw new CaptureError(
        'invalid_config',
        '--native-nftables is not available, rules are written by iptables',
      );
    const config = await readConfig(reader, env, logger);
    logger.info('capture configuration', { ...config });
    if (!reader.on('skip-rule-apply')) await captureTraffic(config, readOptions(reader, env), logger);
    if (reader.on('run-validation')) {
      const probePort = reader.number('iptables-probe-port');
      await validateCapture(config, { probePort, timeoutMs: reader.durationMs('probe-timeout') }, logger);
    }
    return 0;
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    logger.error(error.message);
    if (error.code !== 'not_captured') return 1;
    logger.error(
      'the traffic of this pod is not captured; with the CNI plugin this happens when a pod starts before the node ' +
        'is ready: the repair controller restarts or deletes it, else delete the pod',
    );
    return validationExitCode;
  }
}

function readLogOptions(reader: Reader): Parameters<typeof createLogger>[0] {
  const isLevel = (level: string): level is LogLevel => logLevels.some((known) => known === level);
  const scopeLevels: Record<string, LogLevel> = {};
  for (const part of splitList(reader.text('log_output_level'))) {
    const [scope = '', level = scope] = part.split(':');
    if (isLevel(level)) scopeLevels[part.includes(':') ? scope : 'default'] = level;
  }
  return { level: scopeLevels['default'] ?? 'info', scopeLevels, asJson: reader.on('log_as_json') };
}

/**
 * The command `istio-iptables`. Sets the process's exit code: 0, 1 on errors, 126 when validation fails.
 * Variables without a flag: ISTIO_OUTBOUND_OWNER_GROUPS, ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE,
 * ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR, ENVOY_USER, DRY_RUN_FILE_PATH.
 */
export function istioIptablesCommand(env: Environment): Command {
  const command = new Command('istio-iptables')
    .description('Captures the traffic of a pod: sets up iptables rules for the sidecar.')
    .helpOption('-h, --help')
    .addHelpText(
      'after',
      `
Variables without a flag:
  ISTIO_OUTBOUND_OWNER_GROUPS          groups whose outgoing traffic is captured, names or numbers (default *)
  ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE  groups left alone when that is * (default none)
  ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR    the application's loopback range (default 127.0.0.1/32)
  ENVOY_USER                           user looked up when -u is empty (default istio-proxy)
  DRY_RUN_FILE_PATH                    file to which a dry run appends (default none)`,
    );
  for (const [name, flag] of Object.entries<Flag>(flags)) {
    const short = flag.short === undefined ? '' : `-${flag.short}, `;
    const variables = [variableOf(name), ...(flag.env === undefined ? [] : [flag.env])].map(
      (variable) => `$${variable}`,
    );
    const help = `${flag.help} (default ${flag.default || '""'}, env ${variables.join(', ')})`;
    command.option(`${short}--${name} ${flag.isSwitch ? '[bool]' : '<value>'}`, help);
  }
  return command.action(async (given: Readonly<Record<string, unknown>>) => {
    process.exitCode = await run(given, env);
  });
}
