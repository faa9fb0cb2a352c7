/** `proxy-status`: what each proxy was sent and what it has accepted, as istioctl prints it. */
import { Command } from 'commander';
import { formatColumns } from '#base/columns.ts';
import type { SyncStatus } from '#pilot/bootstrap/syncz.ts';
import { type Env, UsageError } from './main.ts';

const columns = ['NAME', 'CLUSTER', 'CDS', 'LDS', 'EDS', 'RDS', 'ECDS', 'ISTIOD', 'VERSION'] as const;

/** The table, and below it the words of proxies that refused something. */
export function formatProxyStatus(statuses: readonly SyncStatus[], istiod: string): string {
  const rows = statuses.map((status) => [
    status.proxy,
    status.cluster_id,
    ...columns.slice(2, 7).map((type) => status.states[type] ?? 'IGNORED'),
    istiod,
    status.istio_version,
  ]);
  const errors = statuses.flatMap(({ proxy, errors }) =>
    Object.entries(errors).map(([type, detail]) => `${proxy} ${type}: ${detail}\n`),
  );
  const tail = errors.length === 0 ? '' : `\n${errors.join('')}`;
  return `${formatColumns([columns, ...rows]).join('\n')}\n${tail}`;
}

/** `reviews-v1-x` and `reviews-v1-x.default` both name the proxy; an optional `deployment/` or `pod/` stands before. */
function matches(proxy: string, wanted: string): boolean {
  const name = wanted.slice(wanted.indexOf('/') + 1);
  return proxy === name || proxy.startsWith(`${name}.`);
}

async function fetchStatuses(address: string): Promise<SyncStatus[]> {
  let response: Response;
  try {
    response = await fetch(`http://${address}/debug/syncz`, { signal: AbortSignal.timeout(10_000) });
  } catch (error) {
    const cause =
      error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new Error(`no control plane at ${address}: ${cause}`, { cause: error });
  }
  if (!response.ok) throw new Error(`${address}/debug/syncz: HTTP status ${response.status}`);
  return (await response.json()) as SyncStatus[];
}

/** The command. */
export function proxyStatusCommand(_env: Env): Command {
  return new Command('proxy-status')
    .alias('ps')
    .description('what each proxy was sent and what it has accepted')
    .argument('[proxy]', 'only this one: pod or pod.namespace')
    .option('--debug-address <address>', 'debug port of the control plane', '127.0.0.1:8080')
    .option('-o, --output <format>', 'table or json', 'table')
    .action(async (wanted: string | undefined, flags: { debugAddress: string; output: string }) => {
      if (flags.output !== 'table' && flags.output !== 'json') throw new UsageError('-o is table or json');
      const all = await fetchStatuses(flags.debugAddress);
      const statuses = wanted === undefined ? all : all.filter(({ proxy }) => matches(proxy, wanted));
      if (wanted !== undefined && statuses.length === 0) throw new Error(`no proxy ${wanted} is connected`);
      process.stdout.write(
        flags.output === 'json'
          ? `${JSON.stringify(statuses, undefined, 2)}\n`
          : formatProxyStatus(statuses, flags.debugAddress),
      );
    });
}
