/** Istio's logging flags, for the commands that run for long. */
import { Option, type Command } from 'commander';
import { type LogLevel, type LogOptions, logLevels } from '#base/log.ts';
import { UsageError } from './main.ts';

/** Values of the flags. */
export interface LogFlags {
  readonly log_output_level: string;
  readonly log_as_json: boolean;
}

/** Adds `--log_output_level` and `--log_as_json`. */
export function addLogOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--log_output_level <levels>',
        `level, or scope:level pairs, comma separated; levels are ${logLevels.join(', ')}`,
      ).default('default:info'),
    )
    .option('--log_as_json', 'one JSON object per line', false);
}

/** @throws UsageError for an unknown level. */
export function readLogOptions(flags: LogFlags): LogOptions {
  const scopeLevels: Record<string, LogLevel> = {};
  for (const part of flags.log_output_level.split(',').filter((text) => text !== '')) {
    const [scope = '', name = scope] = part.split(':');
    const level = logLevels.find((candidate) => candidate === name);
    if (level === undefined) {
      throw new UsageError(`--log_output_level: ${JSON.stringify(name)} is none of ${logLevels.join(', ')}`);
    }
    scopeLevels[part.includes(':') ? scope : 'default'] = level;
  }
  return { level: scopeLevels['default'] ?? 'info', scopeLevels, asJson: flags.log_as_json };
}
