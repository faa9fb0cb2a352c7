/** For tests: network namespaces of their own. Nothing outside a namespace is touched. */
import { spawn, spawnSync } from 'node:child_process';
import type { CommandResult } from './command.ts';

const searchPath = `${process.execPath.replace(/\/[^/]*$/, '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin`;

/** What `unshare` is called with: root needs no user namespace. */
const unshareArgs = [...(process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']), '--net', '--mount'];

/**
 * Why tests in namespaces cannot run here, for `skip`; false when they can.
 * @param ci whether this is CI (`CI=true`)
 * @throws Error in CI, where a missing piece is a failure
 */
export function namespaceSkip(ci: boolean): string | false {
  const script = 'ip link set lo up && iptables -t nat -A OUTPUT -m owner --uid-owner 1 -j RETURN';
  const { status, stderr, error } = spawnSync('unshare', [...unshareArgs, 'sh', '-c', script], {
    encoding: 'utf8',
    env: { PATH: searchPath },
    timeout: 10_000,
  });
  if (status === 0) return false;
  const reason = `no network namespace with iptables: ${error?.message ?? stderr.trim().split('\n')[0]}`;
  if (ci) throw new Error(reason);
  return reason;
}

/** Runs a shell script in a fresh network and mount namespace; `$NODE` is this Node. */
export function runInNamespace(
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn('unshare', [...unshareArgs, 'sh', '-euc', script], {
      env: { PATH: searchPath, NODE: process.execPath, ...env },
      timeout: 60_000,
      killSignal: 'SIGKILL',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, ...output }));
  });
}
