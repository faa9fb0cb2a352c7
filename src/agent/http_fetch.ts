/** One bounded HTTP/1.1 request to a metrics page or the admin interface. */
import type { IncomingHttpHeaders } from 'node:http';
import { request } from '#base/node_http.ts';

export interface FetchOptions {
  readonly address: string;
  readonly port: number;
  readonly path: string;
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  /** Limit of the whole exchange, milliseconds. */
  readonly timeoutMs: number;
  /** A longer body is an error. */
  readonly maxBytes: number;
}

export interface FetchedText {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Fetches a text. Rejects for refused connections, the time limit and the size limit. */
export function fetchText(options: FetchOptions): Promise<FetchedText> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: options.address,
        port: options.port,
        path: options.path,
        method: options.method ?? 'GET',
        headers: { ...options.headers, connection: 'close' },
        agent: false,
        signal: AbortSignal.timeout(options.timeoutMs),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > options.maxBytes) call.destroy(new Error(`more than ${options.maxBytes} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('aborted', () => reject(new Error('the connection broke off')));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    call.on('error', (error) =>
      reject(error.name === 'TimeoutError' ? new Error(`no answer in ${options.timeoutMs} ms`) : error),
    );
    call.end();
  });
}
