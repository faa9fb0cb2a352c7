/** Asks other DNS servers what the mesh does not know. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { isAnswerTo, withId, type DnsQuery } from './message.ts';
import type { DnsUpstream } from './resolv_conf.ts';

export interface ForwardOptions {
  readonly servers: readonly DnsUpstream[];
  /** Ask all servers at once and take the first answer. */
  readonly parallel: boolean;
  /** Limit for one server, milliseconds. */
  readonly timeoutMs: number;
  readonly protocol: 'udp' | 'tcp';
}

/** Largest message over TCP. */
const maxTcpBytes = 65_535;

/** One exchange over UDP from a port of its own: identifier, address, port and question must match. */
function askUdp(
  server: DnsUpstream,
  id: number,
  message: Buffer,
  query: DnsQuery,
  timeoutMs: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(server.address) ? 'udp6' : 'udp4');
    const end = (act: () => void): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      // Errors of a socket that is being closed have no one to hear them.
      socket.on('error', () => {});
      socket.close();
      act();
    };
    const timer = setTimeout(
      () => end(() => reject(new Error(`no answer of ${server.address} in ${timeoutMs} ms`))),
      timeoutMs,
    );
    socket.on('error', (error) => end(() => reject(error)));
    socket.on('message', (answer) => {
      if (isAnswerTo(answer, id, query.question)) end(() => resolve(answer));
    });
    // A connected socket hears of a closed port at once and drops what others send.
    socket.connect(server.port, server.address, () => socket.send(message));
  });
}

function askTcp(
  server: DnsUpstream,
  id: number,
  message: Buffer,
  query: DnsQuery,
  timeoutMs: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server.address, port: server.port });
    let received = Buffer.alloc(0);
    const end = (act: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      act();
    };
    const timer = setTimeout(
      () => end(() => reject(new Error(`no answer of ${server.address} in ${timeoutMs} ms`))),
      timeoutMs,
    );
    const length = Buffer.alloc(2);
    length.writeUInt16BE(message.length);
    socket.write(Buffer.concat([length, message]));
    socket.on('error', (error) => end(() => reject(error)));
    socket.on('close', () => end(() => reject(new Error(`${server.address} closed the connection`))));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length > maxTcpBytes + 2) return end(() => reject(new Error('the answer is too long')));
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return undefined;
      const answer = received.subarray(2, 2 + received.readUInt16BE(0));
      if (isAnswerTo(answer, id, query.question)) end(() => resolve(answer));
      else end(() => reject(new Error(`${server.address} answered another question`)));
      return undefined;
    });
  });
}

/** The answer of the first server that gives one, under the identifier of the query. Rejects when none does. */
export async function forward(message: Buffer, query: DnsQuery, options: ForwardOptions): Promise<Buffer> {
  const ask = options.protocol === 'udp' ? askUdp : askTcp;
  const askOne = async (server: DnsUpstream): Promise<Buffer> => {
    const id = randomInt(65_536);
    const answer = await ask(server, id, withId(message, id), query, options.timeoutMs);
    return withId(answer, query.id);
  };
  if (options.parallel) return Promise.any(options.servers.map(askOne));
  let last: unknown = new Error('there are no upstream servers');
  for (const server of options.servers) {
    try {
      return await askOne(server);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}
