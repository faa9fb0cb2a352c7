/** Which of the compressors of a chain a response is compressed with (RFC 9110 12.5.3, as Envoy reads it). */

/** How a request chose. Names are those of Envoy's counters. */
export type Choice = 'header_compressor_used' | 'header_wildcard' | 'header_identity' | 'header_not_valid';

export interface Negotiated {
  /** `identity` for none. */
  readonly encoding: string;
  readonly choice: Choice;
}

/** Elements of the header that are looked at. */
const maxElements = 100;

const notValid: Negotiated = { encoding: 'identity', choice: 'header_not_valid' };

/** Quality of an element; undefined when it is no number. */
function qualityOf(parameters: string): number | undefined {
  const equals = parameters.indexOf('=');
  if (equals < 0 || parameters.slice(0, equals).trim().toLowerCase() !== 'q') return 1;
  const text = parameters.slice(equals + 1).trim();
  const value = text === '' ? Number.NaN : Number(text);
  return Number.isNaN(value) ? undefined : value;
}

/**
 * @param offered encodings in the order of the compressors; the first of equals wins where the client has no preference.
 * @param chooseFirst those that want to be taken when the client likes several equally well.
 */
export function negotiate(
  acceptEncoding: string,
  offered: readonly string[],
  chooseFirst: ReadonlySet<string>,
): Negotiated {
  let best = '';
  let bestQuality = 0;
  for (const element of acceptEncoding.split(',', maxElements)) {
    const semicolon = element.indexOf(';');
    const name = (semicolon < 0 ? element : element.slice(0, semicolon)).trim();
    const quality = semicolon < 0 ? 1 : qualityOf(element.slice(semicolon + 1).trim());
    if (quality === undefined || quality <= 0) continue;
    if (name !== 'identity' && name !== '*' && !offered.includes(name)) continue;
    const preferred = chooseFirst.has(name) && !chooseFirst.has(best);
    if (quality > bestQuality || (quality === bestQuality && preferred)) {
      best = name;
      bestQuality = quality;
    }
  }
  if (best === '' || offered.length === 0) return notValid;
  if (best === '*') return { encoding: offered[0] as string, choice: 'header_wildcard' };
  return best === 'identity'
    ? { encoding: best, choice: 'header_identity' }
    : { encoding: best, choice: 'header_compressor_used' };
}
