/** Operators of access logs for values of header rules. */
import type { OperatorTable } from '#telemetry/access_log/format.ts';
import type { MoreCommands } from '../http/header_formatter.ts';
import type { ResponseHeaderMap } from '../http/header_map.ts';
import type { LogEntry } from './log_entry.ts';

export function headerCommands(operators: OperatorTable<LogEntry>): MoreCommands {
  return (name, argument) => {
    const factory = Object.hasOwn(operators, name) ? operators[name] : undefined;
    if (factory === undefined) return undefined;
    const evaluate = factory(argument);
    return ({ info, request, response }) => {
      const value = evaluate({
        info,
        request,
        response: response as ResponseHeaderMap | undefined,
        trailers: undefined,
      });
      if (value === undefined || value === '') return undefined;
      return typeof value === 'object' ? JSON.stringify(value) : String(value);
    };
  };
}
