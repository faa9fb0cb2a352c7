/** The body of a watch: one JSON event per line, for as long as the server sends. */
import type { IncomingMessage } from 'node:http';
import { KubeError } from './kube_error.ts';
import type { KubeObject, KubeStatus } from './object.ts';

/** One event of a watch. */
export type WatchEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: KubeObject }
  | { readonly type: 'ERROR'; readonly object: KubeStatus };

/** Longest line in bytes: etcd refuses objects above 1.5 MB, and JSON with escapes can be a few times that. */
const maxLineBytes = 16 * 1024 * 1024;

/** Cuts chunks into lines. Empty lines are left out. */
export class LineSplitter {
  #rest: Buffer[] = [];
  #restBytes = 0;
  readonly #maxBytes: number;

  constructor(maxBytes: number = maxLineBytes) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of a line whose end has not come yet. */
  get pending(): number {
    return this.#restBytes;
  }

  /** Lines that the chunk completes. @throws KubeError when a line is too long. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const part = chunk.subarray(start, end);
      start = end + 1;
      const line = this.#restBytes === 0 ? part : Buffer.concat([...this.#rest, part]);
      this.#rest = [];
      this.#restBytes = 0;
      if (line.length > 0) lines.push(line.toString('utf8'));
    }
    if (start < chunk.length) {
      this.#rest.push(chunk.subarray(start));
      this.#restBytes += chunk.length - start;
      if (this.#restBytes > this.#maxBytes)
        throw new KubeError('too_large', `an event is longer than ${this.#maxBytes} bytes`);
    }
    return lines;
  }
}

function parseEvent(line: string): WatchEvent {
  let value: Partial<WatchEvent> | null;
  try {
    value = JSON.parse(line) as Partial<WatchEvent> | null;
  } catch (error) {
    throw new KubeError('malformed', 'an event of a watch is no JSON', { cause: error });
  }
  if (
    typeof value !== 'object' ||
    value === null ||
    typeof value.type !== 'string' ||
    typeof value.object !== 'object'
  )
    throw new KubeError('malformed', 'an event of a watch has no type and object');
  return value as WatchEvent;
}

/** Limits of a watch. */
export interface WatchLimits {
  /** The server ends the watch by itself; past this time, in milliseconds, we do. */
  readonly deadlineMs: number;
  /** Default 16 MiB. */
  readonly maxLineBytes?: number;
}

/**
 * Hands events over in the order of the stream, those of one chunk at a time. Resolves when the server ends the stream
 * in form; a half event at the end is dropped, the next watch brings it whole.
 * @throws KubeError when the connection breaks, an event is no event, or the deadline passes.
 */
export async function readWatch(
  response: IncomingMessage,
  what: string,
  limits: WatchLimits,
  onEvents: (events: readonly WatchEvent[]) => void,
): Promise<void> {
  const splitter = new LineSplitter(limits.maxLineBytes);
  await new Promise<void>((resolve, reject) => {
    let failure: unknown;
    const timer = setTimeout(
      () => response.destroy(new KubeError('timeout', `${what}: the server did not end the watch in time`)),
      limits.deadlineMs,
    );
    response.on('data', (chunk: Buffer) => {
      if (failure !== undefined) return;
      try {
        const lines = splitter.push(chunk);
        if (lines.length > 0) onEvents(lines.map(parseEvent));
      } catch (error) {
        failure = error;
        response.destroy();
      }
    });
    response.once('error', (error) => {
      failure ??=
        error instanceof KubeError
          ? error
          : new KubeError('connection', `${what}: ${error.message}`, { cause: error });
    });
    response.once('close', () => {
      clearTimeout(timer);
      if (failure !== undefined) reject(failure);
      else if (response.complete) resolve();
      else reject(new KubeError('connection', `${what}: the watch was cut`));
    });
  });
}
