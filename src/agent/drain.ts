/** How an agent ends on SIGTERM: it drains, waits, and closes (`terminationDrainDuration`). */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '#base/log.ts';
import type { DataPlane } from './data_plane/data_plane.ts';

export interface DrainOptions {
  readonly proxyConfig: { readonly terminationDrainDurationMs: number };
  readonly exitOnZeroActiveConnections?: boolean;
  readonly minimumDrainDurationMs?: number;
  readonly log: Logger;
}

/** Time between two looks at the open connections, milliseconds. */
const pollMs = 1000;

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}

async function waitForZero(options: DrainOptions, dataPlane: DataPlane, signal: AbortSignal): Promise<void> {
  await pause(options.minimumDrainDurationMs ?? 5000, signal);
  while (!signal.aborted) {
    const active = await dataPlane.activeConnections().catch(() => undefined);
    if (active === undefined) {
      options.log.warn('open connections are not known, waiting for the usual time');
      return pause(options.proxyConfig.terminationDrainDurationMs, signal);
    }
    if (active === 0) return undefined;
    await pause(pollMs, signal);
  }
  return undefined;
}

/**
 * Drains and waits. With `exitOnZeroActiveConnections` until no connection is open but at least the minimum, else for
 * the drain time. An aborted signal ends the wait; `drained` skips it.
 */
export async function drainAndClose(
  options: DrainOptions,
  dataPlane: DataPlane,
  drain: () => Promise<void>,
  drained: boolean,
  signal: AbortSignal,
): Promise<void> {
  if (drained) return;
  await drain().catch((error: unknown) => options.log.error('drain failed', { error }));
  const over = dataPlane.exited.then(() => undefined);
  const wait =
    options.exitOnZeroActiveConnections === true
      ? waitForZero(options, dataPlane, signal)
      : pause(options.proxyConfig.terminationDrainDurationMs, signal);
  await Promise.race([wait, over]);
}
