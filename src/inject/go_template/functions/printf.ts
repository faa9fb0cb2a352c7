/** Go's `Sprintf`, as far as values of templates need it. */
import { type Value, kindOf, numberText, textOf } from '../values.ts';

/** Widest field and longest precision. */
const maxWidth = 1000;

const verbs = /%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?([a-zA-Z%])/g;

/** Texts in Go's quotes. */
export function quote(value: string): string {
  return JSON.stringify(value).replaceAll('\u007f', '\\x7f');
}

function width(text: string | undefined, next: () => Value): number | undefined {
  if (text === undefined) return undefined;
  const value = text === '*' ? next() : Number(text);
  if (typeof value !== 'number' || Math.abs(value) > maxWidth)
    throw new Error(`expected a width of at most ${maxWidth}`);
  return value;
}

function wrong(verb: string, value: Value): string {
  return `%!${verb}(${kindOf(value)}=${textOf(value)})`;
}

function digits(value: number, radix: number, flags: string): string {
  const text = Math.abs(value).toString(radix);
  const sign = value < 0 ? '-' : flags.includes('+') ? '+' : '';
  return `${sign}${text}`;
}

function one(verb: string, flags: string, precision: number | undefined, value: Value): string {
  const whole = typeof value === 'number' && Number.isInteger(value);
  switch (verb) {
    case 'v':
      return value === undefined || value === null ? '<nil>' : textOf(value);
    case 's':
    case 'q': {
      if (typeof value === 'number' || typeof value === 'boolean') return wrong(verb, value);
      const text = value === undefined || value === null ? '%!s(<nil>)' : textOf(value);
      const cut = precision === undefined ? text : [...text].slice(0, precision).join('');
      return verb === 'q' ? quote(cut) : cut;
    }
    case 'd':
      return whole ? digits(value, 10, flags) : wrong(verb, value);
    case 'x':
    case 'X': {
      const hex = whole
        ? digits(value, 16, flags)
        : typeof value === 'string'
          ? Buffer.from(value).toString('hex')
          : wrong(verb, value);
      return verb === 'X' ? hex.toUpperCase() : hex;
    }
    case 'o':
      return whole ? digits(value, 8, flags) : wrong(verb, value);
    case 'b':
      return whole ? digits(value, 2, flags) : wrong(verb, value);
    case 'c':
      return whole ? String.fromCodePoint(value) : wrong(verb, value);
    case 't':
      return typeof value === 'boolean' ? String(value) : wrong(verb, value);
    case 'f':
    case 'F':
      return typeof value === 'number' ? value.toFixed(Math.min(precision ?? 6, 100)) : wrong(verb, value);
    case 'e':
      return typeof value === 'number'
        ? value.toExponential(Math.min(precision ?? 6, 100))
        : wrong(verb, value);
    case 'g':
      return typeof value === 'number' ? numberText(value) : wrong(verb, value);
    case 'T':
      return kindOf(value);
    default:
      return `%!${verb}(${kindOf(value)}=${textOf(value)})`;
  }
}

function pad(text: string, size: number | undefined, flags: string): string {
  if (size === undefined) return text;
  const missing = Math.abs(size) - [...text].length;
  if (missing <= 0) return text;
  if (flags.includes('-') || size < 0) return text + ' '.repeat(missing);
  if (!flags.includes('0')) return ' '.repeat(missing) + text;
  const sign = /^[-+]/.exec(text)?.[0] ?? '';
  return `${sign}${'0'.repeat(missing)}${text.slice(sign.length)}`;
}

/** Formats values; missing and spare ones are told in the text, as Go does. */
export function format(pattern: string, args: readonly Value[]): string {
  let used = 0;
  const next = (): Value => args[used++];
  const result = pattern.replaceAll(
    verbs,
    (_, flags: string, wide: string | undefined, exact: string | undefined, verb: string) => {
      if (verb === '%') return '%';
      const size = width(wide, next);
      const precision = width(exact, next);
      if (used >= args.length) return `%!${verb}(MISSING)`;
      return pad(one(verb, flags, precision, next()), size, flags);
    },
  );
  if (used >= args.length) return result;
  const spare = args.slice(used).map((value) => `${kindOf(value)}=${textOf(value)}`);
  return `${result}%!(EXTRA ${spare.join(', ')})`;
}
