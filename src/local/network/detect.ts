/** Whether this machine can run the mesh with captured packets: found out by doing it in a sandbox of its own. */
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { openSandbox, SandboxError, withSystemPath } from './sandbox.ts';

/** What is possible; `missing` names in one line what stands in the way. */
export type CaptureSupport =
  | { readonly mode: 'capture'; readonly rootless: boolean }
  | { readonly mode: 'none'; readonly missing: string };

/** Programs and the Debian packages they come in. */
const programs: Readonly<Record<string, string>> = {
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  ip: 'iproute2',
  iptables: 'iptables',
};
const rootlessPrograms: Readonly<Record<string, string>> = { newuidmap: 'uidmap', newgidmap: 'uidmap' };

/** Each step prints its name first, so the last name tells what failed. */
const steps: readonly (readonly [name: string, command: string])[] = [
  ['mounts in a namespace of their own are forbidden', 'mount -t tmpfs none /tmp'],
  ['bridges cannot be made (kernel module bridge)', 'ip link add trysail0 type bridge'],
  ['virtual links cannot be made (kernel module veth)', 'ip link add trysail1 type veth peer name trysail2'],
  [
    'iptables cannot redirect (kernel modules of nat, xt_REDIRECT)',
    'XTABLES_LOCKFILE=/proc/self/ns/net iptables -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001',
  ],
  [
    'iptables cannot tell owners apart (kernel module xt_owner)',
    'XTABLES_LOCKFILE=/proc/self/ns/net iptables -t nat -A OUTPUT -m owner --uid-owner 1337 -j RETURN',
  ],
  ['user 1337 cannot be used', 'setpriv --reuid 1337 --regid 1337 --clear-groups true'],
];

/** The whole takes some 100 ms, on a machine under load seconds. */
const timeoutMs = 20_000;

/** Tries; nothing is left behind. */
export async function detectCapture(): Promise<CaptureSupport> {
  const missing = await findMissing();
  return missing === undefined
    ? { mode: 'capture', rootless: process.getuid?.() !== 0 }
    : { mode: 'none', missing };
}

async function findMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return `packet capture needs Linux, this is ${process.platform}`;
  const rootless = process.getuid?.() !== 0;
  for (const [program, source] of Object.entries({ ...programs, ...(rootless && rootlessPrograms) }))
    if (!(await isInstalled(program))) return `${program} is not installed (package ${source})`;
  try {
    return await tryInSandbox();
  } catch (error) {
    if (error instanceof SandboxError) return error.message;
    throw error;
  }
}

async function isInstalled(program: string): Promise<boolean> {
  for (const folder of withSystemPath(undefined).split(delimiter))
    if (
      await access(join(folder, program), constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return true;
  return false;
}

async function tryInSandbox(): Promise<string | undefined> {
  const script = steps.map(([, command], index) => `echo ${index} && ${command}`).join(' && ');
  const sandbox = await openSandbox({
    command: 'sh',
    args: ['-c', `${script} && echo done`],
    env: { LC_ALL: 'C' },
  });
  const timer = setTimeout(() => sandbox.destroy(), timeoutMs);
  let output = '';
  let errors = '';
  sandbox.child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  sandbox.child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
  sandbox.child.stdin?.end();
  const closed = new Promise((resolve) => sandbox.child.once('close', resolve));
  await sandbox.exited;
  await closed;
  clearTimeout(timer);
  const last = output.trim().split('\n').at(-1) ?? '';
  if (last === 'done') return undefined;
  const detail = errors.trim().split('\n').at(-1) ?? '';
  const step = last === '' ? 'namespaces are forbidden' : (steps[Number(last)]?.[0] ?? 'unknown step');
  return detail === '' ? step : `${step}: ${detail}`;
}
