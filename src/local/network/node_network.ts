/** The network of the one "node": a bridge that pods are plugged into. Made inside a sandbox. */
import { readFile } from 'node:fs/promises';
import type { Logger } from '#base/log.ts';
import { findCaller } from './caller.ts';
import type { Caller, UserIds } from './pod_command.ts';
import { startPod } from './pod_network.ts';
import type { PodNetwork, PodSpec } from './pod_network.ts';
import { NetworkError, run } from './run.ts';

/** Name of the bridge. */
export const bridgeName = 'cbr0';
/** The node's own address on the bridge: the pods' default route, and what they see of the node. */
export const nodeAddress = '10.244.0.1';
/** Where pods ask for names (kube-dns in a cluster). */
export const dnsAddress = '10.96.0.10';

const podAddressBits = 24;
const lastPodHost = 254;

/** How the network is made. */
export interface NodeNetworkOptions {
  /**
   * Who applications run as when root opened the sandbox on somebody's behalf (SUDO_UID, SUDO_GID). Default: root
   * without privileges. An ordinary user's applications always run as that user.
   */
  readonly onBehalfOf?: UserIds;
}

/** The node's network. It ends with the sandbox. */
export interface NodeNetwork {
  readonly nodeAddress: string;
  readonly bridge: string;
  /** Makes a pod; at most 253 live at a time. */
  createPod(spec: PodSpec): Promise<PodNetwork>;
  /** Gives the node a further address, such as the DNS Service's, so that a server here can listen on it. */
  addAddress(address: string): Promise<void>;
}

/**
 * Makes the bridge. Only in a fresh network: where there are interfaces already, nothing is touched.
 * @throws NetworkError
 */
export async function createNodeNetwork(
  logger: Logger,
  options: NodeNetworkOptions = {},
): Promise<NodeNetwork> {
  const links = JSON.parse(await run('ip', ['-json', 'link', 'show'])) as { ifname: string }[];
  const others = links.map(({ ifname }) => ifname).filter((name) => name !== 'lo');
  if (others.length > 0) throw new NetworkError(`not in a sandbox: this network has ${others.join(', ')}`);
  await run('ip', ['-batch', '-'], {
    input: `
      link set lo up
      link add ${bridgeName} type bridge
      address add ${nodeAddress}/${podAddressBits} dev ${bridgeName}
      link set ${bridgeName} up`,
  });
  // With forwarding on, a packet to a virtual address that nobody captured is answered "unreachable" and not just lost.
  await run('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward']);

  const caller: Caller = await findCaller(options.onBehalfOf);
  const used = new Set<number>();
  const nsswitch = await readFile('/etc/nsswitch.conf', 'utf8').catch(() => undefined);
  return {
    nodeAddress,
    bridge: bridgeName,
    async createPod(spec) {
      let host = 2;
      while (used.has(host)) host++;
      if (host > lastPodHost) throw new NetworkError(`more than ${lastPodHost - 1} pods`);
      used.add(host);
      const place = {
        ip: nodeAddress.replace(/\d+$/, String(host)),
        bits: podAddressBits,
        link: `veth${host}`,
        bridge: bridgeName,
        gateway: nodeAddress,
        dnsServer: dnsAddress,
        caller,
        ...(nsswitch !== undefined && { nsswitch }),
      };
      const free = (): void => void used.delete(host);
      try {
        return await startPod(spec, place, free, logger);
      } catch (error) {
        free();
        throw error;
      }
    },
    async addAddress(address) {
      await run('ip', ['address', 'replace', `${address}/32`, 'dev', bridgeName]);
    },
  };
}
