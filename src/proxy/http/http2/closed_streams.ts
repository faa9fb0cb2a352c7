/**
 * What is remembered of streams that are gone: frames for them may still be on the way (RFC 9113 5.1, closed). Bounded:
 * what is forgotten is treated as never used.
 */

/** Streams that ended on both sides: enough to name the error of a peer that goes on with one. */
const maxEnded = 32;
/** Streams that we reset: their frames are ignored. */
const maxEndedByUs = 4096;

export class ClosedStreams {
  readonly #ended = new Int32Array(maxEnded);
  #next = 0;
  #byUs: Set<number> | undefined = undefined;

  add(streamId: number): void {
    this.#ended[this.#next] = streamId;
    this.#next = (this.#next + 1) % maxEnded;
  }

  addEndedByUs(streamId: number): void {
    const set = (this.#byUs ??= new Set());
    if (set.size >= maxEndedByUs)
      for (const oldest of set) {
        set.delete(oldest);
        break;
      }
    set.add(streamId);
  }

  ended(streamId: number): boolean {
    return this.#ended.includes(streamId);
  }

  endedByUs(streamId: number): boolean {
    return this.#byUs !== undefined && this.#byUs.has(streamId);
  }
}
