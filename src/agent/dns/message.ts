/**
 * DNS messages on the wire (RFC 1035, section 4; EDNS RFC 6891): the question of a query is read, answers of addresses
 * are written. Everything else is passed on as bytes.
 */

/** Response codes (RFC 1035, section 4.1.1). */
export const rcode = { noError: 0, formErr: 1, servFail: 2, nxDomain: 3, notImp: 4, refused: 5 } as const;
export type Rcode = (typeof rcode)[keyof typeof rcode];

/** Record types in use. */
export const recordType = { a: 1, cname: 5, aaaa: 28, opt: 41 } as const;

/** Class IN. */
const classIn = 1;

/** Length of the header. */
export const headerBytes = 12;

/** Longest name on the wire (RFC 1035, section 2.3.4). */
const maxNameBytes = 255;

/** Longest UDP answer without EDNS, and the one that we are ready to send with it. */
export const minUdpBytes = 512;
export const maxUdpBytes = 4096;

/** Records behind the question that are looked at for EDNS. */
const maxExtraRecords = 8;

/** A query with one question. */
export interface DnsQuery {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** Lower case, with the dot at its end. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** The question section as it came, to be repeated letter by letter. */
  readonly question: Buffer;
  /** Largest UDP answer that the asker takes; undefined without EDNS. */
  readonly udpBytes: number | undefined;
}

/** What a message is: a query, or why it is none. `ignore` is for messages that must not be answered. */
export type ParsedQuery =
  | { readonly kind: 'query'; readonly query: DnsQuery }
  | { readonly kind: 'refuse'; readonly id: number; readonly rcode: Rcode }
  | { readonly kind: 'ignore' };

/** Reads a name without compression at `offset`; undefined when it is malformed. */
function readName(message: Buffer, offset: number): { name: string; next: number } | undefined {
  let name = '';
  let at = offset;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > 63) return undefined;
    at++;
    if (length === 0) break;
    if (at + length > message.length || at + length - offset > maxNameBytes - 1) return undefined;
    name += `${message.toString('latin1', at, at + length).toLowerCase()}.`;
    at += length;
  }
  return { name: name === '' ? '.' : name, next: at };
}

/** UDP size of the OPT record among the records behind the question. */
function readUdpBytes(message: Buffer, offset: number): number | undefined {
  let at = offset;
  for (let i = 0; i < maxExtraRecords; i++) {
    const name = readName(message, at);
    if (name === undefined || name.next + 10 > message.length) return undefined;
    const type = message.readUInt16BE(name.next);
    if (type === recordType.opt) {
      return Math.min(maxUdpBytes, Math.max(minUdpBytes, message.readUInt16BE(name.next + 2)));
    }
    at = name.next + 10 + message.readUInt16BE(name.next + 8);
  }
  return undefined;
}

/** Reads a query. */
export function parseQuery(message: Buffer): ParsedQuery {
  if (message.length < headerBytes) return { kind: 'ignore' };
  const id = message.readUInt16BE(0);
  const flags = message.readUInt16BE(2);
  if ((flags & 0x8000) !== 0) return { kind: 'ignore' };
  if (((flags >> 11) & 0xf) !== 0) return { kind: 'refuse', id, rcode: rcode.notImp };
  const name = message.readUInt16BE(4) === 1 ? readName(message, headerBytes) : undefined;
  if (name === undefined || name.next + 4 > message.length) {
    return { kind: 'refuse', id, rcode: rcode.formErr };
  }
  const end = name.next + 4;
  return {
    kind: 'query',
    query: {
      id,
      recursionDesired: (flags & 0x0100) !== 0,
      name: name.name,
      type: message.readUInt16BE(name.next),
      class: message.readUInt16BE(name.next + 2),
      question: message.subarray(headerBytes, end),
      udpBytes: message.readUInt16BE(10) === 0 ? undefined : readUdpBytes(message, end),
    },
  };
}

/** Whether the class of a query is IN. */
export function isInternet(query: DnsQuery): boolean {
  return query.class === classIn;
}

/** Whether a message is the answer to a query that went out under the given identifier. */
export function isAnswerTo(message: Buffer, id: number, question: Buffer): boolean {
  if (message.length < headerBytes || message.readUInt16BE(0) !== id || (message[2] ?? 0) < 0x80)
    return false;
  if (message.readUInt16BE(4) === 0) return (message.readUInt16BE(2) & 0xf) !== rcode.noError;
  const echoed = message.subarray(headerBytes, headerBytes + question.length);
  return echoed.toString('latin1').toLowerCase() === question.toString('latin1').toLowerCase();
}

/** Whether an answer was cut to fit into UDP. */
export function isTruncated(message: Buffer): boolean {
  return ((message[2] ?? 0) & 0x02) !== 0;
}

function writeName(name: string): Buffer {
  const parts: Buffer[] = [];
  for (const label of name.split('.')) {
    if (label === '') continue;
    const bytes = Buffer.from(label, 'latin1');
    parts.push(Buffer.from([bytes.length]), bytes);
  }
  return Buffer.concat([...parts, Buffer.from([0])]);
}

function record(owner: Buffer, type: number, ttlS: number, data: Buffer): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(classIn, 2);
  head.writeUInt32BE(ttlS, 4);
  head.writeUInt16BE(data.length, 8);
  return Buffer.concat([owner, head, data]);
}

/** Pointer to the name of the question. */
const questionName = Buffer.from([0xc0, headerBytes]);

/** Addresses for a name, behind an alias if the name asked for is not the name itself. */
export interface AddressAnswer {
  /** Name that stands for the one asked for, lower case with its dot. */
  readonly alias: string | undefined;
  /** 4 or 16 bytes each. */
  readonly addresses: readonly Buffer[];
  readonly ttlS: number;
}

function header(id: number, flags: number, questions: number, answers: number, extra: number): Buffer {
  const bytes = Buffer.alloc(headerBytes);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt16BE(flags, 2);
  bytes.writeUInt16BE(questions, 4);
  bytes.writeUInt16BE(answers, 6);
  bytes.writeUInt16BE(extra, 10);
  return bytes;
}

/** An answer to a query. With more bytes than `maxBytes` it holds no records and the truncation bit. */
export function writeAnswer(
  query: DnsQuery,
  code: Rcode,
  answer: AddressAnswer | undefined,
  maxBytes: number,
): Buffer {
  const records: Buffer[] = [];
  let owner: Buffer = questionName;
  if (answer?.alias !== undefined) {
    const target = writeName(answer.alias);
    records.push(record(owner, recordType.cname, answer.ttlS, target));
    owner = target;
  }
  for (const address of answer?.addresses ?? []) {
    const type = address.length === 4 ? recordType.a : recordType.aaaa;
    records.push(record(owner, type, answer?.ttlS ?? 0, address));
  }
  // Response, authoritative when it has an answer of ours, recursion available.
  const flags = 0x8080 | (query.recursionDesired ? 0x0100 : 0) | (answer === undefined ? 0 : 0x0400) | code;
  const opt: Buffer[] = [];
  if (query.udpBytes !== undefined) {
    const bytes = Buffer.alloc(11);
    bytes.writeUInt16BE(recordType.opt, 1);
    bytes.writeUInt16BE(maxUdpBytes, 3);
    opt.push(bytes);
  }
  const whole = [header(query.id, flags, 1, records.length, opt.length), query.question, ...records, ...opt];
  const message = Buffer.concat(whole);
  if (message.length <= maxBytes) return message;
  return Buffer.concat([header(query.id, flags | 0x0200, 1, 0, opt.length), query.question, ...opt]);
}

/** An answer to a message that could not be read as a query. */
export function writeRefusal(id: number, code: Rcode): Buffer {
  return header(id, 0x8080 | code, 0, 0, 0);
}

/** A query for the same question under another identifier, as it came otherwise. */
export function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}
