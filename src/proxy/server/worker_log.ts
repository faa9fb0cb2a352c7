/** The log of a worker: lines go to the main thread, which alone writes. */
import type { LogFields, LogLevel, Logger } from '#base/log.ts';
import { LogLevels } from './log_levels.ts';
import type { FromWorker } from './messages.ts';

/** Only plain data crosses threads. */
function plain(fields: LogFields | undefined): LogFields | undefined {
  if (fields === undefined) return undefined;
  const result: LogFields = {};
  for (const [key, value] of Object.entries(fields))
    result[key] =
      value instanceof Error ? value.message : typeof value === 'function' ? String(value) : value;
  return result;
}

/** Level and destination shared by all scopes of one worker. */
export class WorkerLog {
  readonly levels: LogLevels;
  readonly #post: (message: FromWorker) => void;

  constructor(level: LogLevel, post: (message: FromWorker) => void) {
    this.levels = new LogLevels(level);
    this.#post = post;
  }

  logger(scope: string): Logger {
    const write = (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: LogFields): void => {
      if (this.levels.passes(scope, level))
        this.#post({ kind: 'log', level, scope, message, fields: plain(fields) });
    };
    return {
      debug: (message, fields) => write('debug', message, fields),
      info: (message, fields) => write('info', message, fields),
      warn: (message, fields) => write('warn', message, fields),
      error: (message, fields) => write('error', message, fields),
      scope: (name) => this.logger(name),
    };
  }
}
