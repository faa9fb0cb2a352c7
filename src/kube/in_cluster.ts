/** The account of a pod: a token and roots that the kubelet keeps fresh in files. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AccessMaterial, KubeAccess } from './access.ts';

/** Where the kubelet puts the account. */
export const accountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';

/** How long a token that was read is used before its file is read again; the kubelet renews at 80 % of an hour. */
const rereadMs = 30_000;

/** Where the account is. */
export interface InClusterOptions {
  /** KUBERNETES_SERVICE_HOST: an address. */
  readonly host: string;
  /** KUBERNETES_SERVICE_PORT. */
  readonly port: string;
  /** Default `accountDirectory`. */
  readonly directory?: string;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** Opens the account. @throws Error when its files are not there. */
export async function inClusterAccess(options: InClusterOptions): Promise<KubeAccess> {
  const { host, port, directory = accountDirectory, now = Date.now } = options;
  let current: AccessMaterial | undefined;
  let readAt = 0;
  const read = async (): Promise<AccessMaterial> => {
    const [token, ca] = await Promise.all([
      readFile(join(directory, 'token'), 'utf8'),
      readFile(join(directory, 'ca.crt'), 'utf8'),
    ]);
    return { token: token.trim(), ca };
  };
  current = await read();
  readAt = now();
  const namespace = await readFile(join(directory, 'namespace'), 'utf8').catch(() => 'default');
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    origin: `account in ${directory}`,
    namespace: namespace.trim(),
    async material() {
      if (current !== undefined && now() - readAt < rereadMs) return current;
      try {
        current = await read();
      } catch (error) {
        // While the kubelet swaps the files the old ones are still good.
        if (current === undefined) throw error;
      }
      readAt = now();
      return current;
    },
    refresh() {
      readAt = Number.NEGATIVE_INFINITY;
    },
  };
}
