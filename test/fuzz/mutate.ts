/** Mutations of byte strings for fuzz tests, the same ones for the same seed. */

/** Numbers from 0 to 1, mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function pick<T>(random: () => number, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T;
}

/** Octets that parsers trip over. */
const oddOctets = [0, 1, 0x0a, 0x0d, 0x20, 0x3a, 0x40, 0x7e, 0x7f, 0x80, 0xbe, 0xc0, 0xfe, 0xff];

/** One to four changes: flips, replacements, cuts, repeats, insertions. */
export function mutate(random: () => number, input: Buffer): Buffer {
  let bytes: Buffer = Buffer.from(input);
  const changes = 1 + Math.floor(random() * 4);
  for (let i = 0; i < changes; i++) {
    const at = Math.floor(random() * (bytes.length + 1));
    const length = 1 + Math.floor(random() * Math.min(16, bytes.length - at + 1));
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
    switch (Math.floor(random() * 6)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random() * 8));
        break;
      case 1:
        if (at < bytes.length) bytes[at] = pick(random, oddOctets);
        break;
      case 2:
        bytes = Buffer.concat([head, tail.subarray(length)]);
        break;
      case 3:
        bytes = Buffer.concat([head, tail.subarray(0, length), tail]);
        break;
      case 4:
        bytes = Buffer.concat([head, Buffer.from([pick(random, oddOctets)]), tail]);
        break;
      default:
        bytes = head;
    }
  }
  return bytes;
}
