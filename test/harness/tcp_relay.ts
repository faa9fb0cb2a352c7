/** A TCP relay that fails as networks do: connections cut, frozen without a word, or slow. */
import { once } from 'node:events';
import { type Server, type Socket, connect, createServer } from 'node:net';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  frozen: boolean;
}

/** Passes bytes between callers and a port of this machine. */
export class TcpRelay {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  /** Delay of each chunk towards the caller, and its longest length; 0: as they come. */
  slow: { readonly chunkBytes: number; readonly delayMs: number } | undefined;
  /** New connections are reset at once. */
  refuse = false;
  /** Connections accepted. */
  connections = 0;

  private constructor(target: number) {
    this.#server = createServer((client) => this.#accept(client, target));
  }

  static async start(target: number): Promise<TcpRelay> {
    const relay = new TcpRelay(target);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Resets all connections. */
  cut(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
    this.#pairs.clear();
  }

  /** Stops passing bytes on the connections there are; they stay open. New ones pass. */
  freeze(): void {
    for (const pair of this.#pairs) {
      pair.frozen = true;
      pair.client.pause();
      pair.server.pause();
    }
  }

  /** Lets frozen connections go on where they stopped. */
  thaw(): void {
    for (const pair of this.#pairs) {
      pair.frozen = false;
      pair.client.resume();
      pair.server.resume();
    }
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket, target: number): void {
    if (this.refuse) return void client.resetAndDestroy();
    this.connections++;
    const server = connect(target, '127.0.0.1');
    const pair: Pair = { client, server, frozen: false };
    this.#pairs.add(pair);
    client.on('data', (chunk: Buffer) => void server.write(chunk));
    server.on('data', (chunk: Buffer) => {
      const { slow } = this;
      if (slow === undefined) void client.write(chunk);
      else void this.#trickle(pair, chunk, slow);
    });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on('error', () => {});
      socket.once('close', () => {
        this.#pairs.delete(pair);
        other.destroy();
      });
    }
  }

  async #trickle(pair: Pair, chunk: Buffer, slow: { chunkBytes: number; delayMs: number }): Promise<void> {
    pair.server.pause();
    for (let start = 0; start < chunk.length; start += slow.chunkBytes) {
      pair.client.write(chunk.subarray(start, start + slow.chunkBytes));
      await new Promise((resolve) => setTimeout(resolve, slow.delayMs));
    }
    if (!pair.frozen) pair.server.resume();
  }
}
