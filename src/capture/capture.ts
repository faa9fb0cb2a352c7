/** The whole of packet capture for one network namespace. */
import type { Logger } from '#base/log.ts';
import { applyRules } from './apply.ts';
import type { ApplyOptions, ApplyResult } from './apply.ts';
import { buildCaptureRules } from './build_rules.ts';
import type { CaptureConfig } from './config.ts';
import { openIptables, recordIptables } from './iptables.ts';
import type { IptablesOptions } from './iptables.ts';
import { configureRoutes } from './routes.ts';

/** Where and how to capture. */
export interface CaptureOptions extends ApplyOptions, Omit<IptablesOptions, 'ipv6'> {
  /** Dry run: touches nothing, hands rules and calls as text to this function. */
  readonly record?: (text: string) => void;
}

/**
 * Captures traffic as configured: rules, then routes.
 * @throws CaptureError
 */
export async function captureTraffic(
  config: CaptureConfig,
  options: CaptureOptions,
  logger: Logger,
): Promise<ApplyResult> {
  const rules = buildCaptureRules(config);
  const iptables =
    options.record === undefined
      ? await openIptables({ ...options, ipv6: config.ipv6 })
      : recordIptables(options.record);
  const result = await applyRules(iptables, rules, options, logger);
  for (const family of config.ipv6 ? (['v4', 'v6'] as const) : (['v4'] as const)) {
    const saved = await iptables.save(family);
    if (saved !== undefined) logger.debug('final iptables state', { family, saved });
  }
  if (options.record === undefined && options.cleanupOnly !== true)
    await configureRoutes(config, options.networkNamespace);
  return result;
}
