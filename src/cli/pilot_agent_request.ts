/** `pilot-agent request` and `pilot-agent wait`: small HTTP clients for the pod's own endpoints. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchText } from '#agent/http_fetch.ts';

const adminTimeoutMs = 60_000;
const maxAdminBytes = 256 * 1024 * 1024;

/** Asks the admin interface and prints the body. Exit code 0 for a status below 300, else 1; 2 for a wrong call. */
export async function requestAdmin(
  method: string,
  path: string,
  host: string,
  port: string,
): Promise<number> {
  const upper = method.toUpperCase();
  if (upper !== 'GET' && upper !== 'POST') {
    process.stderr.write(`pilot-agent request: method ${method} is not GET or POST\n`);
    return 2;
  }
  try {
    const { status, body } = await fetchText({
      address: host,
      port: Number(port),
      path: path.startsWith('/') ? path : `/${path}`,
      method: upper,
      timeoutMs: adminTimeoutMs,
      maxBytes: maxAdminBytes,
    });
    if (status >= 300) {
      process.stderr.write(`pilot-agent request: status ${status}: ${body}\n`);
      return 1;
    }
    process.stdout.write(body.endsWith('\n') || body === '' ? body : `${body}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`pilot-agent request: ${host}:${port}: ${(error as Error).message}\n`);
    return 1;
  }
}

export interface WaitOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly periodMs: number;
}

/** Asks until the answer is 200. Exit code 0, or 1 when the time is over; 2 for a wrong call. */
export async function waitUntilReady(options: WaitOptions): Promise<number> {
  if (!URL.canParse(options.url) || !(options.timeoutMs > 0) || !(options.periodMs >= 0)) {
    process.stderr.write('pilot-agent wait: url or times are malformed\n');
    return 2;
  }
  const url = new URL(options.url);
  const deadline = performance.now() + options.timeoutMs;
  let last = 'no answer';
  while (performance.now() < deadline) {
    try {
      const { status, body } = await fetchText({
        address: url.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: Number(url.port === '' ? 80 : url.port),
        path: `${url.pathname}${url.search}`,
        timeoutMs: options.requestTimeoutMs,
        maxBytes: 64 * 1024,
      });
      if (status === 200) return 0;
      last = `status ${status}: ${body.trim()}`;
    } catch (error) {
      last = (error as Error).message;
    }
    await sleep(Math.min(options.periodMs, Math.max(0, deadline - performance.now())));
  }
  process.stderr.write(`pilot-agent wait: not ready after ${options.timeoutMs / 1000} s: ${last}\n`);
  return 1;
}
