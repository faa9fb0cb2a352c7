/** `%START_TIME(format)%`: strftime as Envoy's DateFormatter takes it, in UTC. */

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

function pad(value: number, width: number): string {
  return String(value).padStart(width, '0');
}

type Field = (date: Date, epochMs: number) => string;

const fields: Readonly<Record<string, Field>> = {
  Y: (date) => String(date.getUTCFullYear()),
  C: (date) => pad(Math.floor(date.getUTCFullYear() / 100), 2),
  y: (date) => pad(date.getUTCFullYear() % 100, 2),
  m: (date) => pad(date.getUTCMonth() + 1, 2),
  d: (date) => pad(date.getUTCDate(), 2),
  e: (date) => String(date.getUTCDate()).padStart(2, ' '),
  H: (date) => pad(date.getUTCHours(), 2),
  I: (date) => pad(date.getUTCHours() % 12 || 12, 2),
  M: (date) => pad(date.getUTCMinutes(), 2),
  S: (date) => pad(date.getUTCSeconds(), 2),
  p: (date) => (date.getUTCHours() < 12 ? 'AM' : 'PM'),
  a: (date) => (days[date.getUTCDay()] ?? '').slice(0, 3),
  A: (date) => days[date.getUTCDay()] ?? '',
  b: (date) => (months[date.getUTCMonth()] ?? '').slice(0, 3),
  h: (date) => (months[date.getUTCMonth()] ?? '').slice(0, 3),
  B: (date) => months[date.getUTCMonth()] ?? '',
  j: (date) => pad(Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000) + 1, 3),
  u: (date) => String(date.getUTCDay() || 7),
  w: (date) => String(date.getUTCDay()),
  z: () => '+0000',
  Z: () => 'UTC',
  s: (_date, epochMs) => String(Math.floor(epochMs / 1000)),
  f: (_date, epochMs) => pad(Math.floor((epochMs % 1000) * 1e6), 9),
  n: () => '\n',
  t: () => '\t',
  '%': () => '%',
};

const composed: Readonly<Record<string, string>> = {
  F: '%Y-%m-%d',
  T: '%H:%M:%S',
  D: '%m/%d/%y',
  R: '%H:%M',
  c: '%a %b %e %H:%M:%S %Y',
};

/**
 * Compiles a time format: strftime's letters, `%f` (nanoseconds), `%1f` to `%9f` (that many digits of the second's
 * fraction), `%s` (seconds since the epoch), `%Ez` (offset with a colon), `%E*S` and `%E3S` (seconds with a fraction).
 * @throws Error for a letter that it does not know.
 */
export function compileTimeFormat(format: string): (epochMs: number) => string {
  const expanded = format.replace(/%([FTDRc])/g, (_, letter: string) => composed[letter] ?? '');
  const parts: (string | Field)[] = [];
  const pattern = /%(?:([1-9])f|E([0-9])S|(E\*S)|(Ez)|(.)|$)/g;
  let last = 0;
  for (let match = pattern.exec(expanded); match !== null; match = pattern.exec(expanded)) {
    if (match.index > last) parts.push(expanded.slice(last, match.index));
    last = pattern.lastIndex;
    const [text, digits, secondDigits, anySecond, zone, letter] = match;
    if (digits !== undefined) parts.push((_, ms) => fraction(ms, Number(digits)));
    else if (secondDigits !== undefined) {
      const width = Number(secondDigits);
      parts.push((date, ms) => pad(date.getUTCSeconds(), 2) + (width === 0 ? '' : `.${fraction(ms, width)}`));
    } else if (anySecond !== undefined)
      parts.push((date, ms) => `${pad(date.getUTCSeconds(), 2)}.${fraction(ms, 3)}`);
    else if (zone !== undefined) parts.push(() => '+00:00');
    else {
      const field = letter === undefined ? undefined : fields[letter];
      if (field === undefined) throw new Error(`${text} is not a time field`);
      parts.push(field);
    }
  }
  if (last < expanded.length) parts.push(expanded.slice(last));
  return (epochMs) => {
    const date = new Date(epochMs);
    let out = '';
    for (const part of parts) out += typeof part === 'string' ? part : part(date, epochMs);
    return out;
  };
}

function fraction(epochMs: number, digits: number): string {
  return pad(Math.floor((epochMs % 1000) * 1e6), 9).slice(0, digits);
}

let lastMs = -1;
let lastText = '';

/** Default of `%START_TIME%`: `2025-05-04T17:22:18.230Z`. Requests of one millisecond share the text. */
export function formatIsoMillis(epochMs: number): string {
  if (epochMs !== lastMs) {
    lastMs = epochMs;
    lastText = new Date(epochMs).toISOString();
  }
  return lastText;
}
