/** Access to a cluster for commands, found as kubectl finds it. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { KubeAccess } from '#kube/access.ts';
import { kubeConfigAccess } from '#kube/kube_config.ts';
import type { Env } from './main.ts';

/** kubeconfig files: the one that is named, those of KUBECONFIG, or that of the home folder; none when there are none. */
export function kubeConfigPaths(env: Env, named?: string): string[] {
  if (named !== undefined) return [named];
  const listed = (env['KUBECONFIG'] ?? '').split(':').filter((path) => path !== '');
  if (listed.length > 0) return listed;
  const own = join(env['HOME'] ?? homedir(), '.kube', 'config');
  return existsSync(own) ? [own] : [];
}

/**
 * Access by kubeconfig.
 * @throws Error when there is none, or it is wrong
 */
export async function commandAccess(env: Env, kubeconfig?: string, context?: string): Promise<KubeAccess> {
  const paths = kubeConfigPaths(env, kubeconfig);
  if (paths.length === 0)
    throw new Error('no kubeconfig: --kubeconfig or KUBECONFIG says how the cluster is reached');
  return await kubeConfigAccess({ paths, environment: env, ...(context === undefined ? {} : { context }) });
}
