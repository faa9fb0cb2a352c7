/**
 * Logging of the control plane and the agent. Text lines in Istio's form by default
 * (`2026-01-02T03:04:05.678Z\tinfo\tscope\tmessage key=value`), JSON lines when asked. On the import path of every sidecar:
 * no package is loaded (docs/decisions/0004-own-log-writer.md).
 */

/** Levels as Istio's `--log_output_level` names them, most verbose first. */
export const logLevels = ['debug', 'info', 'warn', 'error', 'none'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Values that may stand beside a message. Never pass keys, tokens or certificates' private parts. */
export type LogFields = Record<string, unknown>;

/** A logger of one scope; `scope()` gives a child that shares destination and levels. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  scope(name: string): Logger;
}

/** Where lines go and how they look. */
export interface LogOptions {
  /** Default level of all scopes. Default `info`. */
  readonly level?: LogLevel;
  /** Levels of single scopes, by scope name. */
  readonly scopeLevels?: Readonly<Record<string, LogLevel>>;
  /** JSON lines in place of text (`--log_as_json`). Default false. */
  readonly asJson?: boolean;
  /** Receives each line with its newline. Default standard error. */
  readonly write?: (line: string) => void;
}

/** Place of each level in `logLevels`: a scope passes its own level and those after it. */
const rank: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3, none: 4 };

function toJsonValue(_key: string, value: unknown): unknown {
  if (value instanceof Error) return value.message;
  return typeof value === 'bigint' ? value.toString() : value;
}

/** JSON of any value; what has no JSON (cycles, throwing getters) becomes a note: logging never throws. */
function stringify(value: unknown): string {
  try {
    return JSON.stringify(value, toJsonValue) ?? 'undefined';
  } catch {
    return '"[no JSON]"';
  }
}

function formatValue(value: unknown): string {
  const text = value instanceof Error ? value.message : value;
  if (typeof text === 'string') return /[\s"=]/.test(text) ? JSON.stringify(text) : text;
  return stringify(value);
}

function jsonLine(level: LogLevel, scope: string, message: string, fields: LogFields | undefined): string {
  let line = `{"level":"${level}","time":"${new Date().toISOString()}","scope":${JSON.stringify(scope)}`;
  for (const [key, value] of Object.entries(fields ?? {}))
    if (value !== undefined) line += `,${JSON.stringify(key)}:${stringify(value)}`;
  return `${line},"msg":${JSON.stringify(message)}}\n`;
}

function textLine(level: LogLevel, scope: string, message: string, fields: LogFields | undefined): string {
  // A message may carry what a peer sent: it must not break into a second line.
  const shown = /[\r\n]/.test(message) ? message.replaceAll(/[\r\n]+/g, ' ') : message;
  let line = `${new Date().toISOString()}\t${level}\t${scope}\t${shown}`;
  for (const [key, value] of Object.entries(fields ?? {}))
    if (value !== undefined) line += ` ${key}=${formatValue(value)}`;
  return `${line}\n`;
}

/** Makes the root logger of a process. */
export function createLogger(options: LogOptions = {}, scope = 'default'): Logger {
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const format = options.asJson === true ? jsonLine : textLine;

  function child(name: string): Logger {
    const least = rank[options.scopeLevels?.[name] ?? options.level ?? 'info'];
    const at =
      (level: LogLevel) =>
      (message: string, fields?: LogFields): void => {
        if (rank[level] >= least) write(format(level, name, message, fields));
      };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), scope: child };
  }
  return child(scope);
}

/** A logger that drops everything: for tests and for embedding. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  scope: () => silentLogger,
};
