/** A DNS server whose answers a test sets: A and AAAA over UDP, with a TTL. */
import { type Socket, createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';

/** What a name has. An empty list means that the name exists without addresses. */
export interface DnsEntry {
  readonly addresses: readonly string[];
  readonly ttlSeconds?: number;
}

function nameAt(message: Buffer, start: number): { name: string; end: number } {
  const labels: string[] = [];
  let at = start;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.subarray(at + 1, at + 1 + length).toString('latin1'));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
}

function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const words = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((word) => parseInt(word, 16));
  const [before, after] = [words(head), words(tail)];
  const bytes = Buffer.alloc(16);
  before.forEach((word, i) => bytes.writeUInt16BE(word, 2 * i));
  after.forEach((word, i) => bytes.writeUInt16BE(word, 16 - 2 * (after.length - i)));
  return bytes;
}

export class DnsServer {
  readonly #socket: Socket;
  /** By name, without the last dot. A name that is not here does not exist. */
  readonly entries = new Map<string, DnsEntry>();
  /** Questions by name. */
  readonly asked = new Map<string, number>();
  /** Names whose questions are answered with SERVFAIL. */
  readonly failing = new Set<string>();
  /** Names whose questions are not answered. */
  readonly silent = new Set<string>();

  private constructor() {
    this.#socket = createSocket('udp4');
    this.#socket.on('message', (message, from) => {
      const answer = this.#answer(message);
      if (answer === undefined) return;
      this.#socket.send(answer, from.port, from.address);
    });
  }

  static async start(): Promise<DnsServer> {
    const server = new DnsServer();
    server.#socket.bind(0, '127.0.0.1');
    await once(server.#socket, 'listening');
    return server;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  #answer(question: Buffer): Buffer | undefined {
    const { name, end } = nameAt(question, 12);
    const type = question.readUInt16BE(end);
    this.asked.set(name, (this.asked.get(name) ?? 0) + 1);
    if (this.silent.has(name)) return undefined;
    const entry = this.entries.get(name);
    const wanted = (entry?.addresses ?? []).filter((address) => isIPv6(address) === (type === 28));
    const header = Buffer.alloc(12);
    question.copy(header, 0, 0, 2);
    const code = this.failing.has(name) ? 2 : entry === undefined ? 3 : 0;
    header.writeUInt16BE(0x8180 | code, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(code === 0 ? wanted.length : 0, 6);
    const records = wanted.map((address) => {
      const data = addressBytes(address);
      const record = Buffer.alloc(12);
      record.writeUInt16BE(0xc00c, 0);
      record.writeUInt16BE(type, 2);
      record.writeUInt16BE(1, 4);
      record.writeUInt32BE(entry?.ttlSeconds ?? 1, 6);
      record.writeUInt16BE(data.length, 10);
      return Buffer.concat([record, data]);
    });
    return Buffer.concat([header, question.subarray(12, end + 4), ...(code === 0 ? records : [])]);
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }
}
