/** What capture asks of the machine it runs on. */
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { CaptureError } from './capture_error.ts';
import { splitByFamily } from './cidr_list.ts';
import type { Family } from './cidr_list.ts';
import { runCommand } from './command.ts';

/** All addresses of this network namespace, those of interfaces that are down too. */
async function localAddresses(): Promise<string[]> {
  const shown = await runCommand('ip', ['-json', 'address', 'show']).catch(() => undefined);
  if (shown?.code === 0) {
    const interfaces = JSON.parse(shown.stdout || '[]') as { addr_info?: { local?: string }[] }[];
    return interfaces.flatMap(({ addr_info = [] }) => addr_info.map(({ local = '' }) => local));
  }
  return Object.values(networkInterfaces()).flatMap((list = []) => list.map(({ address }) => address));
}

function isUsable(address: string): boolean {
  return !/^127\.|^::1$|^169\.254\.|^224\.0\.0\.|^fe[89ab][0-9a-f]:|^ff[0-9a-f]2:/i.test(address);
}

/**
 * Whether IPv6 rules are needed: when the machine's first address is an IPv6 one, or with `dualStack` when it has any.
 * @throws CaptureError `invalid_config` when there is no address but loopback and link-local ones
 */
export async function detectIpv6(dualStack: boolean): Promise<boolean> {
  const { v4, v6 } = splitByFamily((await localAddresses()).filter((address) => isUsable(address)));
  if (v4.length + v6.length === 0)
    throw new CaptureError('invalid_config', 'no valid local IP address found');
  return v6.length > 0 && (dualStack || v4.length === 0);
}

/**
 * The servers of a resolver configuration, by family, in order.
 * @throws CaptureError `invalid_config` when the file cannot be read
 */
export async function readDnsServers(path = '/etc/resolv.conf'): Promise<Record<Family, string[]>> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new CaptureError('invalid_config', `failed to load ${path}`, { cause });
  });
  const servers = text.split('\n').map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '');
  return splitByFamily(servers);
}

/** The number of a user by name; undefined when there is no such user. */
export async function findUid(name: string): Promise<string | undefined> {
  const text = await readFile('/etc/passwd', 'utf8').catch(() => '');
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .find(([user]) => user === name)?.[2];
}
