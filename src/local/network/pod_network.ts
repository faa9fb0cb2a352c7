/** One pod: network, mount and host-name namespaces of its own, held by a process that does nothing else. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import type { Logger } from '#base/log.ts';
import { captureTraffic } from '#capture/capture.ts';
import type { CaptureOptions } from '#capture/capture.ts';
import type { ApplyResult } from '#capture/apply.ts';
import type { CaptureConfig } from '#capture/config.ts';
import { podCommand } from './pod_command.ts';
import type { Caller, PodSpawnOptions } from './pod_command.ts';
import { NetworkError, run } from './run.ts';
import { withSystemPath } from './sandbox.ts';

/** What a pod is called. */
export interface PodSpec {
  readonly name: string;
  readonly namespace: string;
  /** Domains tried for short names. Default: as Kubernetes gives, `<namespace>.svc.cluster.local` and so on. */
  readonly searchDomains?: readonly string[];
}

/** Where a pod is plugged in. */
export interface PodPlace {
  readonly ip: string;
  readonly bits: number;
  /** Name of the link's end at the bridge. */
  readonly link: string;
  readonly bridge: string;
  readonly gateway: string;
  readonly dnsServer: string;
  /** The machine's nsswitch.conf, if any. */
  readonly nsswitch?: string;
  readonly caller: Caller;
}

/** A running pod. */
export interface PodNetwork {
  readonly ip: string;
  readonly name: string;
  readonly namespace: string;
  /** File of the pod's network namespace. */
  readonly networkNamespace: string;
  /** Starts a process in the pod; its pid is the process's own. Default user: the caller's, without privileges. */
  spawn(command: string, args: readonly string[], options: PodSpawnOptions): ChildProcess;
  /** Captures the pod's traffic; running it again changes nothing. */
  runIptables(
    config: CaptureConfig,
    options?: Pick<CaptureOptions, 'reconcile' | 'cleanupOnly'>,
  ): Promise<ApplyResult>;
  /** Kills the pod's processes and frees its network. */
  remove(): Promise<void>;
}

/**
 * Run in the new namespaces. Files are laid over the machine's from a tmpfs that is seen nowhere; the line read in
 * between says that the link is plugged in; the last read ends with the pod.
 */
const holder = `
set -e
mount -t tmpfs none /tmp
overlay() {
  if [ -e "$2" ]; then printf '%s\\n' "$1" >"/tmp/$3"; mount --bind "/tmp/$3" "$2"; fi
}
overlay "$RESOLV_CONF" /etc/resolv.conf resolv.conf
overlay "$HOSTS" /etc/hosts hosts
if [ -n "$NSSWITCH" ]; then overlay "$NSSWITCH" /etc/nsswitch.conf nsswitch.conf; fi
umount -l /tmp
hostname "$POD_NAME" 2>/dev/null || true
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null || true
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
echo open
read -r _
ip -batch - <<END
link set lo up
address add $POD_ADDRESS dev eth0
link set eth0 up
route add default via $GATEWAY
END
echo ready
exec 1>&- 2>&-
while read -r _; do :; done`;

const startTimeoutMs = 10_000;
const maxHostNameLength = 63;

/** Lookups go by files and DNS; a resolver service of the machine knows nothing of the mesh. */
function plainLookups(nsswitch: string): string {
  return nsswitch.replaceAll(/^hosts:.*$/gm, 'hosts: files dns');
}

/**
 * Starts a pod.
 * @param onRemoved called once when the pod is gone
 * @throws NetworkError
 */
export async function startPod(
  spec: PodSpec,
  place: PodPlace,
  onRemoved: () => void,
  logger: Logger,
): Promise<PodNetwork> {
  const { name, namespace } = spec;
  const domains = ['svc.cluster.local', 'cluster.local'];
  const search = spec.searchDomains ?? [`${namespace}.${domains[0]}`, ...domains];
  const child = spawn('unshare', ['--net', '--mount', '--uts', '--', 'sh', '-c', holder, 'pod'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: withSystemPath(undefined),
      POD_NAME: name.slice(0, maxHostNameLength),
      POD_ADDRESS: `${place.ip}/${place.bits}`,
      GATEWAY: place.gateway,
      RESOLV_CONF: `nameserver ${place.dnsServer}\nsearch ${search.join(' ')}\noptions ndots:5`,
      HOSTS: `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n${place.ip}\t${name}`,
      NSSWITCH: place.nsswitch === undefined ? '' : plainLookups(place.nsswitch),
    },
  });
  child.on('error', () => {});
  child.stdin.on('error', () => {});
  const said = lineReader(child);
  const pid = child.pid ?? 0;
  const networkNamespace = `/proc/${pid}/ns/net`;
  try {
    await said('open');
    await run('ip', ['-batch', '-'], {
      input: `
        link add ${place.link} type veth peer name eth0 netns ${pid}
        link set ${place.link} master ${place.bridge}
        link set ${place.link} up`,
    });
    child.stdin.write('plugged in\n');
    await said('ready');
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }

  return {
    ip: place.ip,
    name,
    namespace,
    networkNamespace,
    spawn: (command, args, options) => podCommand({ pid, caller: place.caller }, command, args, options),
    runIptables: (config, options = {}) =>
      captureTraffic(config, { ...options, networkNamespace, ownLock: true }, logger.scope('iptables')),
    async remove() {
      await killMembers(networkNamespace, pid);
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      // The kernel frees namespaces later; the name of the link is free only when it is gone.
      await run('ip', ['link', 'delete', place.link]).catch(() => {});
      onRemoved();
    },
  };
}

/** Gives a function that waits for a line of the process. */
function lineReader(child: ChildProcess): (wanted: string) => Promise<void> {
  let output = '';
  let errors = '';
  let ended = false;
  let wake = (): void => {};
  child.stdout?.setEncoding('utf8').on('data', (text: string) => ((output += text), wake()));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.on('close', () => ((ended = true), wake()));
  return async (wanted) => {
    const deadline = Date.now() + startTimeoutMs;
    while (!output.split('\n').includes(wanted)) {
      if (ended || Date.now() >= deadline)
        throw new NetworkError(`pod did not start: ${errors.trim() || 'timeout'}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        wake = () => (clearTimeout(timer), resolve());
      });
    }
  };
}

/** Kills all processes of a network namespace but the holder; again, until there are none (they may be forking). */
async function killMembers(networkNamespace: string, holderPid: number): Promise<void> {
  const own = await readlink(networkNamespace).catch(() => undefined);
  if (own === undefined) return;
  for (let round = 0; round < 10; round++) {
    const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 1 && pid !== holderPid);
    const namespaces = await Promise.all(
      pids.map(async (pid) => ({
        pid,
        namespace: await readlink(`/proc/${pid}/ns/net`).catch(() => undefined),
      })),
    );
    const members = namespaces.filter(({ namespace }) => namespace === own);
    if (members.length === 0) return;
    for (const { pid } of members)
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone already.
      }
  }
}
