/** Ports of 127.0.0.1 that nothing uses now. */
import { createServer } from 'node:net';

/** A free TCP port of an address; the preferred one when it is free. */
export async function freePort(host: string, preferred = 0): Promise<number> {
  const tryPort = (port: number): Promise<number | undefined> =>
    new Promise((resolve) => {
      const server = createServer();
      server.on('error', () => resolve(undefined));
      server.listen({ host, port, exclusive: true }, () => {
        const address = server.address();
        const found = typeof address === 'object' && address !== null ? address.port : undefined;
        server.close(() => resolve(found));
      });
    });
  const port = (preferred > 0 ? await tryPort(preferred) : undefined) ?? (await tryPort(0));
  if (port === undefined) throw new Error(`no free port on ${host}`);
  return port;
}

/** True when this machine answers on all of 127/8 (Linux), not on 127.0.0.1 alone (macOS). */
export async function hasLoopbackRange(): Promise<boolean> {
  try {
    await freePort('127.80.0.1');
    return true;
  } catch {
    return false;
  }
}
