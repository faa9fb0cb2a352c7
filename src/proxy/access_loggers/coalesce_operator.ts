/** `%COALESCE({"operators": [...]})%`: the first of several operators that has a value. */
import type { Evaluator, OperatorTable, OperatorValue } from '#telemetry/access_log/format.ts';
import type { LogEntry } from './log_entry.ts';

/** Operators of one COALESCE. */
const maxOperators = 16;

/** One operator of the list. */
interface Choice {
  readonly evaluate: Evaluator<LogEntry>;
  readonly maxLength: number | undefined;
}

function readChoice(value: unknown, operators: OperatorTable<LogEntry>): Choice {
  const {
    command,
    param,
    max_length: maxLength,
  } = (typeof value === 'string' ? { command: value } : (value ?? {})) as {
    command?: unknown;
    param?: unknown;
    max_length?: unknown;
  };
  if (typeof command !== 'string' || command === '') throw new Error('an operator without command');
  if (param !== undefined && typeof param !== 'string') throw new Error(`${command}: param is no text`);
  if (maxLength !== undefined && (typeof maxLength !== 'number' || maxLength <= 0))
    throw new Error(`${command}: max_length is no number above 0`);
  const factory = Object.hasOwn(operators, command) ? operators[command] : undefined;
  if (factory === undefined) throw new Error(`unknown operator ${command}`);
  return { evaluate: factory(param), maxLength };
}

function cut(value: OperatorValue, maxLength: number | undefined): OperatorValue {
  return maxLength !== undefined && typeof value === 'string' ? value.slice(0, maxLength) : value;
}

/**
 * @param operators what may stand in the list.
 * @throws Error that names what is wrong with the argument.
 */
export function coalesce(operators: OperatorTable<LogEntry>): OperatorTable<LogEntry>[string] {
  return (argument) => {
    let list: unknown;
    try {
      list = (JSON.parse(argument ?? '') as { operators?: unknown } | null)?.operators;
    } catch {
      throw new Error('expected a JSON object');
    }
    if (!Array.isArray(list) || list.length === 0 || list.length > maxOperators)
      throw new Error(`expected "operators", a list of 1 to ${maxOperators}`);
    const choices = list.map((one) => readChoice(one, operators));
    return (entry) => {
      for (const { evaluate, maxLength } of choices) {
        const value = evaluate(entry);
        if (value !== undefined && value !== '') return cut(value, maxLength);
      }
      return undefined;
    };
  };
}
