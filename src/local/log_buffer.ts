/** Lines that the processes of a pod wrote: the newest are kept, listeners hear each as it comes. */

/** Which process of a pod wrote a line. */
export type LogSource = string;

export interface LogLine {
  readonly pod: string;
  /** Container name; `istio-proxy` for the sidecar. */
  readonly source: LogSource;
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
}

/** Longest line kept, in characters; the rest is cut. */
const maxLineLength = 16_384;

/** Keeps the last lines of one pod and passes them on. */
export class LogBuffer {
  readonly #lines: LogLine[] = [];
  readonly #max: number;
  readonly #listeners = new Set<(line: LogLine) => void>();

  /** @param max lines kept, default 2000. */
  constructor(max = 2000) {
    this.#max = max;
  }

  push(line: LogLine): void {
    this.#lines.push(line);
    if (this.#lines.length > this.#max) this.#lines.splice(0, this.#lines.length - this.#max);
    for (const listener of this.#listeners) listener(line);
  }

  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  /** Hears lines from now on; the returned function ends it. */
  subscribe(listener: (line: LogLine) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Cuts a byte stream into lines; a line without an end comes out when the stream ends. */
export function readLines(stream: NodeJS.ReadableStream, onLine: (text: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > maxLineLength) {
      onLine(rest.slice(0, maxLineLength));
      rest = '';
    }
    for (const line of lines) onLine(line.slice(0, maxLineLength));
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
    rest = '';
  });
  stream.on('error', () => {});
}
