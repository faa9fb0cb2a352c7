/** Clients of the soak: each repeats one kind of traffic at a modest pace, counts rounds and what went wrong. */
import { once } from 'node:events';
import { type ClientHttp2Session, type IncomingHttpHeaders, connect as connectHttp2 } from 'node:http2';
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Traffic {
  readonly name: string;
  /** One round; rejects when something is lost or wrong. */
  round(): Promise<void>;
  close(): void;
}

function http1(port: number, secure: boolean, agent: HttpAgent): () => Promise<void> {
  let i = 0;
  return () =>
    new Promise((resolve, reject) => {
      const body = i++ % 4 === 0 ? Buffer.alloc(20_000, 'b') : undefined;
      const request = (secure ? httpsRequest : httpRequest)(
        {
          host: '127.0.0.1',
          port,
          agent,
          method: body === undefined ? 'GET' : 'POST',
          path: `/?${i}`,
          headers: { 'x-want-bytes': String((i * 977) % 40_000) },
          ...(secure ? { rejectUnauthorized: false } : {}),
        },
        (response) => {
          response.resume();
          response.on('error', reject);
          response.on('end', () =>
            response.statusCode === 200 ? resolve() : reject(new Error(`status ${response.statusCode}`)),
          );
        },
      );
      request.on('error', reject);
      request.end(body);
    });
}

export function http1Traffic(port: number): Traffic {
  const agent = new HttpAgent({ keepAlive: true, maxSockets: 8 });
  return { name: 'HTTP/1.1', round: http1(port, false, agent), close: () => agent.destroy() };
}

/** Keeps connections for some rounds, then makes new ones: handshakes go on all the time. */
export function tlsTraffic(port: number): Traffic {
  let agent = new HttpsAgent({ keepAlive: true, maxSockets: 4 });
  let round = http1(port, true, agent);
  let rounds = 0;
  return {
    name: 'TLS',
    round() {
      if (++rounds % 40 === 0) {
        // Other lanes still use its connections.
        const old = agent;
        setTimeout(() => old.destroy(), 5_000).unref();
        agent = new HttpsAgent({ keepAlive: true, maxSockets: 4 });
        round = http1(port, true, agent);
      }
      return round();
    },
    close: () => agent.destroy(),
  };
}

/** A session that is made anew when the proxy lets it go. */
class Session {
  readonly #url: string;
  #session: ClientHttp2Session | undefined;

  constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}`;
  }

  get(): ClientHttp2Session {
    if (this.#session === undefined || this.#session.closed || this.#session.destroyed) {
      const session = connectHttp2(this.#url);
      session.on('error', () => {});
      session.on('goaway', () => {
        if (this.#session === session) this.#session = undefined;
        session.close();
      });
      this.#session = session;
    }
    return this.#session;
  }

  close(): void {
    this.#session?.destroy();
  }
}

/** RFC 9113 section 8.7: a stream that a GOAWAY overtook was not looked at, its request goes out again. */
function wasRefused(error: unknown): boolean {
  return /NGHTTP2_REFUSED_STREAM|ERR_HTTP2_GOAWAY_SESSION|New streams cannot be created after receiving a GOAWAY/.test(
    `${(error as NodeJS.ErrnoException).code} ${(error as Error).message}`,
  );
}

async function untilTaken(round: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries++)
    try {
      await round();
      return;
    } catch (error) {
      if (tries === 5 || !wasRefused(error)) throw error;
    }
}

export function http2Traffic(port: number): Traffic {
  const session = new Session(port);
  let i = 0;
  return {
    name: 'HTTP/2',
    round: () =>
      untilTaken(async () => {
        const stream = session
          .get()
          .request({ ':path': `/?${i++}`, 'x-want-bytes': String((i * 977) % 40_000) });
        const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
        stream.resume();
        await once(stream, 'end');
        if (headers[':status'] !== 200) throw new Error(`status ${headers[':status']}`);
      }),
    close: () => session.close(),
  };
}

/** A gRPC message as its frame. */
export function grpcFrame(bytes: number): Buffer {
  const frame = Buffer.alloc(5 + bytes, 'm');
  frame[0] = 0;
  frame.writeUInt32BE(bytes, 1);
  return frame;
}

/** Calls with several messages each way. */
export function grpcTraffic(port: number): Traffic {
  const session = new Session(port);
  let i = 0;
  return {
    name: 'gRPC',
    async round() {
      const stream = session.get().request({
        ':method': 'POST',
        ':path': '/soak.Echo/Stream',
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      const trailers = once(stream, 'trailers') as Promise<[IncomingHttpHeaders]>;
      trailers.catch(() => {});
      let received = 0;
      let sent = 0;
      stream.on('data', (chunk: Buffer) => (received += chunk.length));
      for (let message = 0; message < 1 + (i++ % 5); message++) {
        const frame = grpcFrame((i * 131) % 5_000);
        sent += frame.length;
        stream.write(frame);
      }
      stream.end();
      await once(stream, 'end');
      const [{ 'grpc-status': status }] = await trailers;
      if (status !== '0' || received !== sent)
        throw new Error(`grpc-status ${String(status)}, ${received} of ${sent} bytes`);
    },
    close: () => session.close(),
  };
}

/** Bytes through an echo: a connection of its own for some rounds, half-closed at its end. */
export function tcpTraffic(port: number): Traffic {
  let i = 0;
  return {
    name: 'TCP',
    async round() {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      let received = 0;
      socket.on('data', (chunk: Buffer) => (received += chunk.length));
      await once(socket, 'connect');
      const bytes = 1000 + ((i++ * 4099) % 100_000);
      socket.end(Buffer.alloc(bytes, 't'));
      await once(socket, 'end');
      socket.destroy();
      if (received !== bytes) throw new Error(`${received} of ${bytes} bytes`);
    },
    close() {},
  };
}

/** Runs several loops of a traffic until the signal; `lanes` rounds at a time, `pauseMs` between rounds of a lane. */
export class Load {
  readonly traffic: Traffic;
  rounds = 0;
  readonly failures = new Map<string, number>();
  readonly #lanes: Promise<void>[];

  constructor(traffic: Traffic, lanes: number, pauseMs: number, signal: AbortSignal) {
    this.traffic = traffic;
    this.#lanes = Array.from({ length: lanes }, () => this.#lane(pauseMs, signal));
  }

  async done(): Promise<void> {
    await Promise.all(this.#lanes);
    this.traffic.close();
  }

  async #lane(pauseMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.traffic.round();
        this.rounds++;
      } catch (error) {
        const { message } = error as Error;
        this.failures.set(message, (this.failures.get(message) ?? 0) + 1);
      }
      await sleep(pauseMs);
    }
  }
}
