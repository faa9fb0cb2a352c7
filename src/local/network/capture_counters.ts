/** What the rules of a pod counted: the proof that its traffic was captured. */
import { openIptables } from '#capture/iptables.ts';
import { chainPrefix, chains } from '#capture/rules.ts';
import { parseSavedState } from '#capture/saved_state.ts';

/** One rule of a capture chain. In the nat table each connection counts once, by its first packet. */
export interface RuleCounter {
  readonly chain: string;
  /** As `iptables-save` prints it, without the chain. */
  readonly rule: string;
  readonly packets: number;
  readonly bytes: number;
}

/** Counters of one pod. */
export interface CaptureCounters {
  readonly rules: readonly RuleCounter[];
  /** Connections handed to the proxy's inbound port. */
  readonly inboundConnections: number;
  /** Connections handed to the proxy's outbound port. */
  readonly outboundConnections: number;
}

/** Parses `iptables-save -c`. */
export function parseCaptureCounters(saved: string): CaptureCounters {
  const lines = [...(parseSavedState(saved).get('nat') ?? [])]
    .filter(([chain]) => chain.startsWith(chainPrefix))
    .flatMap(([, rules]) => rules);
  const rules = lines.flatMap((line): RuleCounter[] => {
    const [, packets, bytes, chain, rule] = /^\[(\d+):(\d+)\] -A (\S+) (.*)$/.exec(line) ?? [];
    if (chain === undefined || rule === undefined) return [];
    return [{ chain, rule, packets: Number(packets), bytes: Number(bytes) }];
  });
  const redirected = (chain: string): number =>
    rules.filter((rule) => rule.chain === chain).reduce((sum, { packets }) => sum + packets, 0);
  return {
    rules,
    inboundConnections: redirected(chains.inRedirect),
    outboundConnections: redirected(chains.redirect),
  };
}

/**
 * Reads the counters of a pod.
 * @param networkNamespace file of the pod's network namespace
 * @throws CaptureError `missing_program`
 */
export async function readCaptureCounters(networkNamespace: string): Promise<CaptureCounters> {
  const iptables = await openIptables({ networkNamespace, ownLock: true, ipv6: false });
  return parseCaptureCounters((await iptables.save('v4', { counters: true })) ?? '');
}
