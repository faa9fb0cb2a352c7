/** What capture needs beside rules: the `::6` address and, for TPROXY, policy routing. */
import { CaptureError } from './capture_error.ts';
import { runCommand } from './command.ts';
import type { CommandOptions } from './command.ts';
import type { CaptureConfig } from './config.ts';

/**
 * Adds what is missing; running it again changes nothing.
 * @throws CaptureError `command_failed`
 */
export async function configureRoutes(config: CaptureConfig, networkNamespace?: string): Promise<void> {
  const options: CommandOptions = networkNamespace === undefined ? {} : { networkNamespace };
  const ip = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await runCommand('ip', args, options);
    if (code === 0 || /file exists|already assigned/i.test(stderr)) return stdout;
    throw new CaptureError('command_failed', `ip ${args.join(' ')}: ${stderr.trim()}`);
  };
  // 127.0.0.6 is bindable as it is; its IPv6 counterpart must be an address of the interface.
  if (config.ipv6) await ip('-6', 'address', 'add', '::6/128', 'dev', 'lo');
  if (config.inboundMode !== 'TPROXY' || config.inboundPorts.length === 0) return;
  const mark = String(config.tproxyMark);
  const table = String(config.tproxyRouteTable);
  const markHex = `0x${config.tproxyMark.toString(16)}`;
  for (const family of config.ipv6 ? ['-4', '-6'] : ['-4']) {
    const rules = await ip(family, 'rule', 'show');
    if (!rules.split('\n').some((rule) => rule.trimEnd().endsWith(`fwmark ${markHex} lookup ${table}`)))
      await ip(family, 'rule', 'add', 'fwmark', mark, 'lookup', table);
    await ip(family, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', table);
  }
}
