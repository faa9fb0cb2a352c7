/**
 * Envoy's substitution format strings (docs: "Access logging / Format strings"): `%REQ(X?Y):Z%` and the like, compiled once
 * into a function. What an operator means is given by a table, so that this file knows nothing of requests.
 */

/** What an operator yields for one entry; undefined prints as `-` (text) or `null` (JSON). */
export type OperatorValue =
  | string
  | number
  | boolean
  | undefined
  | readonly unknown[]
  | Readonly<Record<string, unknown>>;

/** Reads one value of an entry. */
export type Evaluator<Entry> = ((entry: Entry) => OperatorValue) & {
  /** Empty text is a value, it does not stand for an absent one. */
  readonly keepsEmpty?: boolean;
};

/**
 * Operators by name. A factory gets the text between the brackets (undefined without brackets) and throws Error when it
 * is not what the operator takes.
 */
export type OperatorTable<Entry> = Readonly<
  Record<string, (argument: string | undefined) => Evaluator<Entry>>
>;

/** A format string that cannot be compiled; the message names the place and what was expected. */
export class FormatError extends Error {}

/** Longest format string, in characters. */
export const maxFormatLength = 16_384;

/** A literal, or an operator with the bound of its output in characters (undefined: none). */
export type FormatPart<Entry> =
  | { readonly literal: string }
  | { readonly evaluate: Evaluator<Entry>; readonly maxLength: number | undefined };

const operatorPattern = /^([A-Z][A-Z0-9_]*)(?:\(([^)]*)\))?(?::(\d+))?$/;

/** Splits a format string into literals and operators; `%%` is a percent sign. */
export function parseFormat<Entry>(format: string, operators: OperatorTable<Entry>): FormatPart<Entry>[] {
  if (format.length > maxFormatLength)
    throw new FormatError(`format string is longer than ${maxFormatLength} characters`);
  const parts: FormatPart<Entry>[] = [];
  let literal = '';
  let at = 0;
  while (at < format.length) {
    const start = format.indexOf('%', at);
    if (start < 0) {
      literal += format.slice(at);
      break;
    }
    literal += format.slice(at, start);
    if (format[start + 1] === '%') {
      literal += '%';
      at = start + 2;
      continue;
    }
    const { text, next } = readOperator(format, start);
    const match = operatorPattern.exec(text);
    if (match === null)
      throw new FormatError(
        `"%${text}%" at character ${start + 1} is not an operator: expected %NAME%, %NAME(argument)% or %NAME(argument):length%`,
      );
    const [, name = '', argument, length] = match;
    const factory = Object.hasOwn(operators, name) ? operators[name] : undefined;
    if (factory === undefined) throw new FormatError(`unknown operator %${name}% at character ${start + 1}`);
    if (literal !== '') parts.push({ literal });
    literal = '';
    let evaluate: Evaluator<Entry>;
    try {
      evaluate = factory(argument);
    } catch (error) {
      throw new FormatError(`%${text}% at character ${start + 1}: ${(error as Error).message}`, {
        cause: error,
      });
    }
    parts.push({ evaluate, maxLength: length === undefined ? undefined : Number(length) });
    at = next;
  }
  if (literal !== '') parts.push({ literal });
  return parts;
}

/** The text between the percent signs; a time format between brackets may itself hold percent signs. */
function readOperator(format: string, start: number): { text: string; next: number } {
  let depth = 0;
  for (let i = start + 1; i < format.length; i++) {
    const c = format[i];
    if (c === '(') depth++;
    else if (c === ')') depth--;
    else if (c === '%' && depth <= 0) return { text: format.slice(start + 1, i), next: i + 1 };
  }
  throw new FormatError(`operator at character ${start + 1} has no closing %`);
}

/** Text of one value. */
function textOf(value: OperatorValue, maxLength: number | undefined): string {
  let text: string;
  if (value === undefined || value === '') text = '-';
  else if (typeof value === 'string') text = value;
  else if (typeof value === 'object') text = JSON.stringify(value);
  else text = String(value);
  return maxLength !== undefined && text.length > maxLength ? text.slice(0, maxLength) : text;
}

/** Compiles a text format. With `omitEmpty` an absent value prints as nothing in place of `-`. */
export function compileTextFormat<Entry>(
  format: string,
  operators: OperatorTable<Entry>,
  omitEmpty = false,
): (entry: Entry) => string {
  const parts = parseFormat(format, operators);
  // Parallel arrays: one tight loop per entry.
  const literals: string[] = [''];
  const evaluators: Evaluator<Entry>[] = [];
  const lengths: (number | undefined)[] = [];
  for (const part of parts) {
    if ('literal' in part) literals[literals.length - 1] += part.literal;
    else {
      evaluators.push(part.evaluate);
      lengths.push(part.maxLength);
      literals.push('');
    }
  }
  return (entry) => {
    let text = literals[0] as string;
    for (let i = 0; i < evaluators.length; i++) {
      const evaluate = evaluators[i] as Evaluator<Entry>;
      const value = evaluate(entry);
      if (value === '' && (omitEmpty || evaluate.keepsEmpty === true)) text += literals[i + 1] as string;
      else if (omitEmpty && value === undefined) text += literals[i + 1] as string;
      else text += textOf(value, lengths[i]) + (literals[i + 1] as string);
    }
    return text;
  };
}

/** A JSON format as it stands in configuration: strings with operators, nested objects and lists, numbers, booleans. */
export type JsonFormat =
  | string
  | number
  | boolean
  | null
  | readonly JsonFormat[]
  | { readonly [key: string]: JsonFormat };

type JsonEvaluator<Entry> = (entry: Entry) => unknown;

function compileJsonValue<Entry>(
  format: JsonFormat,
  operators: OperatorTable<Entry>,
  omitEmpty: boolean,
): JsonEvaluator<Entry> {
  if (typeof format === 'string') {
    const parts = parseFormat(format, operators);
    const only = parts[0];
    // a single operator keeps its type: numbers stay numbers
    if (parts.length === 1 && only !== undefined && 'evaluate' in only) {
      const { evaluate, maxLength } = only;
      return (entry) => {
        const value = evaluate(entry);
        if (value === undefined || (value === '' && evaluate.keepsEmpty !== true)) return null;
        return typeof value === 'string' && maxLength !== undefined ? value.slice(0, maxLength) : value;
      };
    }
    return compileTextFormat(format, operators, omitEmpty);
  }
  if (Array.isArray(format)) {
    const items = (format as readonly JsonFormat[]).map((item) =>
      compileJsonValue(item, operators, omitEmpty),
    );
    return (entry) => items.map((item) => item(entry));
  }
  if (typeof format === 'object' && format !== null) {
    const fields = Object.entries(format as Record<string, JsonFormat>).map(
      ([key, value]) => [key, compileJsonValue(value, operators, omitEmpty)] as const,
    );
    return (entry) => {
      const result: Record<string, unknown> = {};
      for (const [key, evaluate] of fields) {
        const value = evaluate(entry);
        if (omitEmpty && value === null) continue;
        result[key] = value;
      }
      return result;
    };
  }
  return () => format;
}

/** Compiles a JSON format: one object per entry, keys sorted as Envoy prints them, with a newline at the end. */
export function compileJsonFormat<Entry>(
  format: { readonly [key: string]: JsonFormat },
  operators: OperatorTable<Entry>,
  omitEmpty = false,
): (entry: Entry) => string {
  const sorted = sortKeys(format) as { readonly [key: string]: JsonFormat };
  const evaluate = compileJsonValue(sorted, operators, omitEmpty);
  return (entry) => `${JSON.stringify(evaluate(entry))}\n`;
}

function sortKeys(format: JsonFormat): JsonFormat {
  if (Array.isArray(format)) return (format as readonly JsonFormat[]).map(sortKeys);
  if (typeof format !== 'object' || format === null) return format;
  return Object.fromEntries(
    Object.entries(format as Record<string, JsonFormat>)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, value]) => [key, sortKeys(value)]),
  );
}
