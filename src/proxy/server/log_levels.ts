/** Levels of the proxy's loggers, which `/logging` changes: one set for the main thread, kept equal in each worker. */
import type { LogFields, LogLevel, Logger } from '#base/log.ts';
import type { LoggerLevels } from '../admin/proxy_state.ts';

/** Names of loggers; what logs under another name follows `main`. */
const loggerNames = ['admin', 'ads', 'config', 'main', 'overload', 'proxy', 'workers'] as const;

const rank: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3, none: 4 };

/** True when a line of `level` is to be written at `threshold`. */
export function isLogged(level: LogLevel, threshold: LogLevel): boolean {
  return rank[level] >= rank[threshold];
}

export class LogLevels implements LoggerLevels {
  readonly #levels: Map<string, LogLevel>;
  readonly #onChange: ((name: string | undefined, level: LogLevel) => void) | undefined;

  constructor(level: LogLevel, onChange?: (name: string | undefined, level: LogLevel) => void) {
    this.#levels = new Map(loggerNames.map((name) => [name, level]));
    this.#onChange = onChange;
  }

  all(): ReadonlyMap<string, LogLevel> {
    return this.#levels;
  }

  set(name: string | undefined, level: LogLevel): void {
    if (name !== undefined) this.#levels.set(name, level);
    else for (const each of this.#levels.keys()) this.#levels.set(each, level);
    this.#onChange?.(name, level);
  }

  passes(name: string, level: LogLevel): boolean {
    return isLogged(level, this.#levels.get(name) ?? this.#levels.get('main') ?? 'info');
  }

  /** A logger whose lines pass these levels before they reach `base`. */
  filter(base: Logger, name = 'main'): Logger {
    const at =
      (level: 'debug' | 'info' | 'warn' | 'error') =>
      (message: string, fields?: LogFields): void => {
        if (this.passes(name, level)) base[level](message, fields);
      };
    return {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      scope: (scope) => this.filter(base.scope(scope), scope),
    };
  }
}
