/**
 * From the machine into the sandbox: the opener listens on the machine's loopback and hands the listening socket to the
 * process inside, which accepts on it and connects to the pod. A socket keeps the network it was made in, so there is
 * nothing in between, and nothing to leave behind.
 */
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { ChildProcess } from 'node:child_process';

/** Where connections go. */
export interface ForwardTarget {
  readonly host: string;
  readonly port: number;
}

/** Where the opener listens. */
export interface ForwardListen {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: any free port. */
  readonly port?: number;
}

/** A forwarded port. */
export interface PortForward {
  readonly port: number;
  close(): Promise<void>;
}

/** What travels on the channel; other messages are left alone. */
type ForwardMessage =
  | { readonly type: 'trysail.forward.open'; readonly id: number; readonly target: ForwardTarget }
  | { readonly type: 'trysail.forward.close'; readonly id: number }
  | { readonly type: 'trysail.forward.done'; readonly id: number };

const maxConnectionsPerPort = 1024;
const answerTimeoutMs = 5000;
let lastId = 0;

function isForwardMessage(message: unknown): message is ForwardMessage {
  const type = (message as { type?: unknown } | null)?.type;
  return typeof type === 'string' && type.startsWith('trysail.forward.');
}

/**
 * Outside: listens and has the process inside forward.
 * @param child the sandbox's child, opened with a channel
 * @throws Error when the port is taken or nobody inside answers
 */
export async function forwardPort(
  child: ChildProcess,
  listen: ForwardListen,
  target: ForwardTarget,
): Promise<PortForward> {
  const id = ++lastId;
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: listen.host ?? '127.0.0.1', port: listen.port ?? 0 }, resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  try {
    await ask(child, { type: 'trysail.forward.open', id, target }, server);
  } finally {
    // Inside has its own copy.
    server.close();
  }
  return { port, close: () => ask(child, { type: 'trysail.forward.close', id }) };
}

/** Sends and waits for the answer of the same id. */
function ask(child: ChildProcess, message: ForwardMessage, server?: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (error?: Error): void => {
      clearTimeout(timer);
      child.off('message', hear);
      child.off('exit', gone);
      if (error === undefined) resolve();
      else reject(error);
    };
    const hear = (answer: unknown): void => {
      if (isForwardMessage(answer) && answer.type === 'trysail.forward.done' && answer.id === message.id)
        finish();
    };
    const gone = (): void => finish(new Error('the sandbox has ended'));
    const timer = setTimeout(() => finish(new Error('the sandbox does not answer')), answerTimeoutMs);
    child.on('message', hear);
    child.on('exit', gone);
    child.send(message, server, (error) => error && finish(error));
  });
}

/** The channel of the process inside (`process`), as far as needed. */
export interface ForwardChannel {
  on(event: 'message', listener: (message: unknown, handle: unknown) => void): unknown;
  send?(message: unknown): unknown;
}

/** Inside: forwards what the opener asks for. Call once, at the start. */
export function acceptPortForwards(channel: ForwardChannel): void {
  const servers = new Map<number, Server>();
  channel.on('message', (message, handle) => {
    if (!isForwardMessage(message)) return;
    const { id } = message;
    if (message.type === 'trysail.forward.open') {
      const server = createServer({ allowHalfOpen: true }, (socket) =>
        forwardConnection(socket, message.target),
      );
      server.maxConnections = maxConnectionsPerPort;
      server.on('error', () => {});
      server.listen(handle as Server);
      servers.set(id, server);
    } else if (message.type === 'trysail.forward.close') {
      servers.get(id)?.close();
      servers.delete(id);
    }
    channel.send?.({ type: 'trysail.forward.done', id } satisfies ForwardMessage);
  });
}

/** Connects and copies both ways; an end is passed on as an end, an error ends both. */
function forwardConnection(socket: Socket, { host, port }: ForwardTarget): void {
  const upstream = connect({ host, port, allowHalfOpen: true, noDelay: true });
  socket.setNoDelay(true);
  for (const [from, to] of [
    [socket, upstream],
    [upstream, socket],
  ] as const) {
    from.on('error', () => to.destroy());
    from.on('close', (failed) => (failed ? to.destroy() : to.end()));
    from.pipe(to);
  }
}
