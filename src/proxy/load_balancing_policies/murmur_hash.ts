/** MurmurHash2 in its 64-bit form (MurmurHash64A, as libstdc++'s std::hash), for rings of `hash_function: MURMUR_HASH_2`. */

const multiplier = 0xc6a4_a793_5bd1_e995n;
const mask = 0xffff_ffff_ffff_ffffn;
const defaultSeed = 0xc70f_6907n;

function mix(value: bigint): bigint {
  return value ^ (value >> 47n);
}

/** 64-bit hash of text. */
export function murmurHash64(text: string): bigint {
  const bytes = Buffer.from(text);
  const whole = bytes.length - (bytes.length % 8);
  let hash = defaultSeed ^ ((BigInt(bytes.length) * multiplier) & mask);
  for (let at = 0; at < whole; at += 8) {
    const part = (mix((bytes.readBigUInt64LE(at) * multiplier) & mask) * multiplier) & mask;
    hash = ((hash ^ part) * multiplier) & mask;
  }
  if (whole < bytes.length) {
    let rest = 0n;
    for (let at = bytes.length - 1; at >= whole; at--) rest = (rest << 8n) | BigInt(bytes[at] ?? 0);
    hash = ((hash ^ rest) * multiplier) & mask;
  }
  return mix((mix(hash) * multiplier) & mask);
}
