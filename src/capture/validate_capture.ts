/**
 * Checks that capture works by trying it: a connection to 127.0.0.6 on a port where nobody listens must arrive at the
 * proxy's ports. Run as the proxy's user and before the proxy, as the container `istio-validation` does.
 */
import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '#base/log.ts';
import { CaptureError } from './capture_error.ts';
import type { CaptureConfig } from './config.ts';

/** How to probe. */
export interface ValidationOptions {
  /** The port connected to. Default 15002. */
  readonly probePort?: number;
  /** Give up after this time. Default 5000. */
  readonly timeoutMs?: number;
  /** Between two attempts. Default 1000. */
  readonly intervalMs?: number;
}

const tokenBytes = 16;

/** Listens; resolves `arrived` once the token came in. Undefined when the address is taken. */
function listen(
  address: string,
  port: number,
  token: string,
  arrived: () => void,
): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      let text = '';
      socket.setTimeout(1000, () => socket.destroy());
      socket.on('error', () => socket.destroy());
      socket.setEncoding('latin1').on('data', (data: string) => {
        text = (text + data).slice(0, token.length);
        if (text !== token) return;
        arrived();
        socket.destroy();
      });
    });
    server.on('error', () => resolve(undefined));
    server.listen(port, address, () => resolve(server));
  });
}

/** One connection that carries the token; ends when the socket does. */
function probe(from: string, to: string, port: number, token: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: to, port, localAddress: from, signal });
    socket.on('connect', () => socket.end(token));
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
}

/**
 * Resolves when a probe was redirected.
 * @throws CaptureError `not_captured` when none was in time, or when the proxy's ports are all taken
 */
export async function validateCapture(
  config: Pick<CaptureConfig, 'proxyPort' | 'inboundCapturePort' | 'ipv6'>,
  options: ValidationOptions,
  logger: Logger,
): Promise<void> {
  const { probePort = 15002, timeoutMs = 5000, intervalMs = 1000 } = options;
  // Connections to 127.0.0.6 or ::6 arrive, redirected, at 127.0.0.1 or ::1.
  const [local, target] = config.ipv6 ? ['::1', '::6'] : ['127.0.0.1', '127.0.0.6'];
  const token = randomBytes(tokenBytes).toString('hex');
  const done = new AbortController();
  let captured = false;
  const arrived = (): void => {
    captured = true;
    done.abort();
  };
  const ports = [config.proxyPort, config.inboundCapturePort];
  const servers = await Promise.all(ports.map((port) => listen(local, port, token, arrived)));
  const open = servers.filter((server) => server !== undefined);
  try {
    if (open.length === 0)
      throw new CaptureError('not_captured', `ports ${ports.join(', ')} of ${local} are all taken`);
    logger.info('validating capture', { target, probePort, timeoutMs });
    const end = AbortSignal.any([done.signal, AbortSignal.timeout(timeoutMs)]);
    while (!end.aborted) {
      await probe(local, target, probePort, token, end);
      await delay(intervalMs, undefined, { signal: end }).catch(() => {});
    }
    if (!captured)
      throw new CaptureError(
        'not_captured',
        `no connection to ${target}:${probePort} was redirected in time`,
      );
    logger.info('validation passed');
  } finally {
    for (const server of open) server.close();
  }
}
