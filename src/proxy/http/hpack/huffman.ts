/**
 * The Huffman code of RFC 7541 appendix B. The code is canonical: the lengths of its 257 symbols give it whole. Decoding
 * takes four bits a step through a table of states, linear in the input whatever it holds. On the hot path:
 * bench/micro/http2_codec.ts.
 */
import { latin1Slice } from '../latin1.ts';

/** Bits of the code of each octet and of EOS (256), one base-36 digit each. */
const lengths =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmnqqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu';

const eos = 256;

/** Code and length of each symbol, for the encoder and tests. */
export interface HuffmanCode {
  readonly code: number;
  readonly bits: number;
}

/** By symbol. */
export const huffmanCodes: readonly HuffmanCode[] = buildCodes();

function buildCodes(): HuffmanCode[] {
  const order = Array.from(lengths, (digit, symbol) => ({ symbol, bits: Number.parseInt(digit, 36) }));
  order.sort((a, b) => a.bits - b.bits || a.symbol - b.symbol);
  const codes: HuffmanCode[] = [];
  let code = 0;
  let last = order[0]?.bits ?? 0;
  for (const { symbol, bits } of order) {
    code *= 2 ** (bits - last);
    last = bits;
    codes[symbol] = { code, bits };
    code++;
  }
  return codes;
}

// A step of the table: bits 0-8 next state, bit 9 a symbol came out, bits 10-17 that symbol, bit 18 the input may end
// here, bit 19 the input is wrong (it holds EOS).
const emits = 1 << 9;
const accepts = 1 << 18;
const fails = 1 << 19;
const stateMask = 0x1ff;

const steps: Uint32Array = buildSteps();

function buildSteps(): Uint32Array {
  // Inner nodes: two children each, an inner node's number or -2 - symbol.
  const zero: number[] = [0];
  const one: number[] = [0];
  huffmanCodes.forEach(({ code, bits }, symbol) => {
    let node = 0;
    for (let bit = bits - 1; bit >= 0; bit--) {
      const children = Math.floor(code / 2 ** bit) % 2 === 1 ? one : zero;
      if (bit === 0) children[node] = -2 - symbol;
      else {
        if (children[node] === 0) {
          children[node] = zero.length;
          zero.push(0);
          one.push(0);
        }
        node = children[node] as number;
      }
    }
  });
  // Padding is up to seven bits of the code of EOS, which is all ones.
  const ends = new Uint8Array(zero.length);
  for (let i = 0, node = 0; i <= 7; i++, node = one[node] as number) ends[node] = 1;
  const table = new Uint32Array(zero.length * 16);
  for (let state = 0; state < zero.length; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let step = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = ((nibble >> bit) & 1) === 1 ? (one[node] as number) : (zero[node] as number);
        if (next > 0) {
          node = next;
          continue;
        }
        const symbol = -2 - next;
        if (symbol === eos) {
          step = fails;
          break;
        }
        step |= emits | (symbol << 10);
        node = 0;
      }
      table[state * 16 + nibble] = step | node | (ends[node] === 1 ? accepts : 0);
    }
  }
  return table;
}

/** Where texts are decoded into; grows with the longest, which the frame and header limits bound. */
let scratch = Buffer.allocUnsafeSlow(4096);

/**
 * Decodes `buf` from `start` to `end` into `huffmanOutput()`.
 * @returns octets decoded, or -1 when the text is wrong: EOS inside, more than seven bits of padding, or padding that is
 *   not all ones (RFC 7541 5.2).
 */
export function huffmanDecode(buf: Uint8Array, start: number, end: number): number {
  // The shortest code has five bits.
  const most = Math.ceil(((end - start) * 8) / 5);
  if (most > scratch.length) scratch = Buffer.allocUnsafeSlow(most * 2);
  const out = scratch;
  const table = steps;
  let length = 0;
  let step = accepts;
  for (let i = start; i < end; i++) {
    const byte = buf[i] as number;
    step = table[((step & stateMask) << 4) | (byte >> 4)] as number;
    if ((step & (emits | fails)) !== 0) {
      if ((step & fails) !== 0) return -1;
      out[length++] = step >> 10;
    }
    step = table[((step & stateMask) << 4) | (byte & 15)] as number;
    if ((step & (emits | fails)) !== 0) {
      if ((step & fails) !== 0) return -1;
      out[length++] = step >> 10;
    }
  }
  return (step & accepts) === 0 ? -1 : length;
}

/** The buffer that the last `huffmanDecode` wrote to; valid until the next. */
export function huffmanOutput(): Buffer {
  return scratch;
}

/** Codes latin1 text; for peers that ask for it and for tests. */
export function huffmanEncode(text: string): string {
  const out: number[] = [];
  let bits = 0;
  let held = 0;
  for (let i = 0; i < text.length; i++) {
    const { code, bits: more } = huffmanCodes[text.charCodeAt(i) & 0xff] as HuffmanCode;
    // Codes have up to 30 bits: beyond int32 with the seven that may wait.
    held = held * 2 ** more + code;
    bits += more;
    while (bits >= 8) {
      bits -= 8;
      const byte = Math.floor(held / 2 ** bits);
      out.push(byte);
      held -= byte * 2 ** bits;
    }
  }
  if (bits > 0) out.push(held * 2 ** (8 - bits) + 2 ** (8 - bits) - 1);
  return latin1Slice(Buffer.from(out), 0, out.length);
}
