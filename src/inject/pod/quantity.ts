/** Quantities (`k8s.io/apimachinery` resource.Quantity): reading, and the one spelling in which Kubernetes writes them. */

const form =
  /^([+-]?)(\d{0,100})(?:\.(\d{0,100}))?(?:(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)|[eE]([+-]?\d{1,3}))?$/;

const binary: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
};
const decimal: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const binaryLargestFirst = Object.entries(binary).reverse();
const decimalSuffixes = new Map(Object.entries(decimal).map(([suffix, power]) => [power, suffix]));
decimalSuffixes.set(0, '');

/** The smallest step of a quantity, 10^-9; what is finer is rounded up. */
const nano = 1_000_000_000n;
/** Greatest exponent that is read. */
const maxExponent = 18;

interface Parsed {
  /** In 10^-9. */
  readonly nanos: bigint;
  readonly style: 'binary' | 'decimal' | 'exponent';
}

function divideUp(value: bigint, divisor: bigint): bigint {
  return value % divisor === 0n ? value / divisor : value / divisor + 1n;
}

function parse(value: string): Parsed | undefined {
  const match = form.exec(value);
  if (match === null) return undefined;
  const [, sign, whole = '', fraction = '', suffix, exponent] = match;
  if (whole === '' && fraction === '') return undefined;
  const power = exponent === undefined ? (decimal[suffix ?? ''] ?? 0) : Number(exponent);
  if (Math.abs(power) > maxExponent) return undefined;
  const scale = binary[suffix ?? ''] ?? 1n;
  let numerator = BigInt(whole + fraction) * scale * nano;
  if (power > 0) numerator *= 10n ** BigInt(power);
  const denominator = 10n ** BigInt(fraction.length + (power < 0 ? -power : 0));
  const magnitude = divideUp(numerator, denominator);
  const style = scale !== 1n ? 'binary' : exponent === undefined ? 'decimal' : 'exponent';
  return { nanos: sign === '-' ? -magnitude : magnitude, style };
}

/** True for texts that Kubernetes reads as a quantity: `100m`, `1.5Gi`, `2`, `1e3`. */
export function isQuantity(value: string): boolean {
  return parse(value) !== undefined;
}

/** The spelling of Kubernetes: `2000m` is `2`, `1024Mi` is `1Gi`, `0.5` is `500m`. Other texts come back unchanged. */
export function canonicalQuantity(value: string): string {
  const parsed = parse(value);
  if (parsed === undefined) return value;
  const negative = parsed.nanos < 0n;
  const magnitude = negative ? -parsed.nanos : parsed.nanos;
  const text =
    parsed.style === 'binary' && magnitude >= 1024n * nano
      ? binaryText(magnitude)
      : decimalText(magnitude, parsed.style);
  return negative && text !== '0' ? `-${text}` : text;
}

function binaryText(magnitude: bigint): string {
  const whole = divideUp(magnitude, nano);
  for (const [suffix, scale] of binaryLargestFirst)
    if (whole % scale === 0n) return `${whole / scale}${suffix}`;
  return String(whole);
}

function decimalText(magnitude: bigint, style: Parsed['style']): string {
  if (magnitude === 0n) return '0';
  let mantissa = magnitude;
  let power = -9;
  while (power < maxExponent && mantissa % 1000n === 0n) {
    mantissa /= 1000n;
    power += 3;
  }
  if (style === 'exponent') return power === 0 ? String(mantissa) : `${mantissa}e${power}`;
  return `${mantissa}${decimalSuffixes.get(power) ?? ''}`;
}
