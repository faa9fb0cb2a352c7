/** Looks at the bridge between pods: are given words seen in the clear? Needs tcpdump (Node opens no packet sockets). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PcapReader, tcpSegment } from './pcap.ts';
import { withSystemPath } from './sandbox.ts';

/** What was seen. */
export interface PlaintextReport {
  /** TCP segments with payload. */
  readonly segments: number;
  /** Markers found, each with the flow where it was seen first. */
  readonly seen: readonly { readonly marker: string; readonly flow: string }[];
}

/** A running probe. */
export interface PlaintextProbe {
  /** Ends the capture; packets sent before are in the report. */
  stop(): Promise<PlaintextReport>;
}

/** Flows remembered at a time; a marker may be cut by segments of one flow. */
const maxFlows = 4096;
const startTimeoutMs = 5000;
/** Kernel to tcpdump to us. */
const settleMs = 200;

/** Finds markers in segments. */
export function createMarkerSearch(markers: readonly string[]): {
  add(frame: Buffer): void;
  report(): PlaintextReport;
} {
  const wanted = markers.map((marker) => ({ marker, bytes: Buffer.from(marker) }));
  const tailBytes = Math.max(0, ...wanted.map(({ bytes }) => bytes.length - 1));
  const tails = new Map<string, Buffer>();
  const seen = new Map<string, string>();
  let segments = 0;
  return {
    add(frame) {
      const segment = tcpSegment(frame);
      if (segment === undefined) return;
      segments++;
      const { flow, payload } = segment;
      const text = Buffer.concat([tails.get(flow) ?? Buffer.alloc(0), payload]);
      for (const { marker, bytes } of wanted)
        if (!seen.has(marker) && text.includes(bytes)) seen.set(marker, flow);
      tails.delete(flow);
      tails.set(flow, Buffer.from(text.subarray(Math.max(0, text.length - tailBytes))));
      const [oldest] = tails.keys();
      if (tails.size > maxFlows && oldest !== undefined) tails.delete(oldest);
    },
    report: () => ({ segments, seen: [...seen].map(([marker, flow]) => ({ marker, flow })) }),
  };
}

/**
 * Starts to look at an interface of this network namespace.
 * @param exceptHost an address whose traffic is not looked at
 * @returns the probe, or what is missing in one line
 */
export async function startPlaintextProbe(
  interfaceName: string,
  markers: readonly string[],
  exceptHost?: string,
): Promise<PlaintextProbe | { readonly missing: string }> {
  // -Z: stay who we are, the user tcpdump would become may not exist in the sandbox.
  const args = [
    '-i',
    interfaceName,
    '-s',
    '0',
    '-U',
    '--immediate-mode',
    '-n',
    '-Z',
    'root',
    '-w',
    '-',
    exceptHost === undefined ? 'tcp' : `tcp and not host ${exceptHost}`,
  ];
  const child = spawn('tcpdump', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: withSystemPath(undefined) },
  });
  const search = createMarkerSearch(markers);
  const reader = new PcapReader();
  child.stdout.on('data', (piece: Buffer) => {
    try {
      for (const frame of reader.read(piece)) search.add(frame);
    } catch {
      child.kill('SIGKILL');
    }
  });
  const missing = await new Promise<string | undefined>((resolve) => {
    let text = '';
    const timer = setTimeout(() => resolve('tcpdump does not start'), startTimeoutMs);
    const finish = (result: string | undefined): void => {
      clearTimeout(timer);
      resolve(result);
    };
    child.on('error', () => finish('tcpdump is not installed (package tcpdump)'));
    child.on('exit', () => finish(`tcpdump: ${text.trim().split('\n').at(-1) ?? 'ended'}`));
    child.stderr.setEncoding('utf8').on('data', (data: string) => {
      text = (text + data).slice(-4096);
      if (text.includes('listening on')) finish(undefined);
    });
  });
  if (missing !== undefined) {
    child.kill('SIGKILL');
    return { missing };
  }
  return {
    async stop() {
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      if (child.exitCode === null && child.signalCode === null) {
        const closed = once(child, 'close');
        child.kill('SIGINT');
        await closed;
      }
      return search.report();
    },
  };
}
