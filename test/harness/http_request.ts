/** One request as a plain client sends it, and everything of its answer. */
import { type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import type { Echo } from './echo_backend.ts';

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer;
  readonly host?: string;
  /** Milliseconds for the whole request; default 10000. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: Readonly<Record<string, string | undefined>>;
  /** The body as the echo backend wrote it. Throws when it is something else. */
  echo(): Echo;
}

/** Sends a request to 127.0.0.1 on a connection of its own. @throws when the connection ends before the answer. */
export function send(port: number, path = '/', options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        host: options.host ?? '127.0.0.1',
        port,
        path,
        method: options.method ?? 'GET',
        headers: options.headers as Record<string, string | string[]> | undefined,
        agent: false,
        timeout: options.timeoutMs ?? 10_000,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => void chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const body = Buffer.concat(chunks).toString('utf8');
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body,
            trailers: response.trailers,
            echo: () => JSON.parse(body) as Echo,
          });
        });
      },
    );
    request.on('timeout', () => request.destroy(new Error(`no answer to ${path} in time`)));
    request.on('error', reject);
    request.end(options.body);
  });
}
