/**
 * Logging of the control plane and the agent. Text lines in Istio's form by default
 * (`2026-01-02T03:04:05.678901Z\tinfo\tscope\tmessage key=value`), JSON lines when asked.
 */
import pino from 'pino';

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

type PinoLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

function toPinoLevel(level: LogLevel): PinoLevel {
  return level === 'none' ? 'silent' : level;
}

function formatValue(value: unknown): string {
  if (value instanceof Error) return value.message;
  if (typeof value === 'string') return /[\s"=]/.test(value) ? JSON.stringify(value) : value;
  return JSON.stringify(value) ?? 'undefined';
}

/** One text line from one JSON line of pino. */
function toText(line: string): string {
  const { level, time, scope, msg, ...fields } = JSON.parse(line) as {
    level: string;
    time: string;
    scope: string;
    msg: string;
  } & LogFields;
  const tail = Object.entries(fields)
    .map(([key, value]) => ` ${key}=${formatValue(value)}`)
    .join('');
  return `${time}\t${level}\t${scope}\t${msg}${tail}\n`;
}

/** Makes the root logger of a process. */
export function createLogger(options: LogOptions = {}, scope = 'default'): Logger {
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const destination = options.asJson === true ? { write } : { write: (line: string) => write(toText(line)) };
  const root = pino(
    {
      base: null,
      level: 'debug',
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      serializers: { error: (value: unknown) => (value instanceof Error ? value.message : value) },
    },
    destination,
  );

  function child(name: string): Logger {
    const level = toPinoLevel(options.scopeLevels?.[name] ?? options.level ?? 'info');
    const logger = root.child({ scope: name }, { level });
    return {
      debug: (message, fields) => logger.debug(fields ?? {}, message),
      info: (message, fields) => logger.info(fields ?? {}, message),
      warn: (message, fields) => logger.warn(fields ?? {}, message),
      error: (message, fields) => logger.error(fields ?? {}, message),
      scope: child,
    };
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
