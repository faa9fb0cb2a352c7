/**
 * Bounds on what a peer may make us do without doing anything itself (CVE-2019-9511 to 9518, CVE-2023-44487,
 * CVE-2024-27316): counters, compared with constants. Envoy's ProtocolConstraints and premature reset tracking.
 */
import type { Violation } from './error_codes.ts';
import { frameHeaderBytes } from './frames/frame_header.ts';
import type { Http2Options } from './options.ts';
import { violations } from './violations.ts';

/** One per connection. Methods answer with the bound that was passed. */
export class FloodGuards {
  readonly #options: Http2Options;
  #streams = 0;
  #emptyFrames = 0;
  #priorityFrames = 0;
  #windowUpdates = 0;
  #dataFramesSent = 0;
  #outbound = 0;
  #outboundControl = 0;
  #ended = 0;
  #early = 0;
  #resetTokens: number;
  #resetTime = 0;

  constructor(options: Http2Options) {
    this.#options = options;
    this.#resetTokens = options.streamResetBurst;
  }

  onStreamOpened(): void {
    this.#streams++;
  }

  /** DATA, HEADERS or CONTINUATION. */
  onFrame(payloadBytes: number, endStream: boolean): Violation | undefined {
    if (payloadBytes > 0 || endStream) {
      this.#emptyFrames = 0;
      return undefined;
    }
    return ++this.#emptyFrames > this.#options.maxConsecutiveInboundFramesWithEmptyPayload
      ? violations.emptyFrames
      : undefined;
  }

  onPriority(): Violation | undefined {
    return ++this.#priorityFrames > this.#options.maxInboundPriorityFramesPerStream * (1 + this.#streams)
      ? violations.priorityFlood
      : undefined;
  }

  onWindowUpdate(): Violation | undefined {
    const perData = this.#options.maxInboundWindowUpdateFramesPerDataFrameSent;
    return ++this.#windowUpdates > 5 + 2 * (this.#streams + perData * this.#dataFramesSent)
      ? violations.windowUpdateFlood
      : undefined;
  }

  onDataSent(): void {
    this.#dataFramesSent++;
    this.#outbound++;
  }

  onHeadersSent(): void {
    this.#outbound++;
  }

  onControlSent(): void {
    this.#outbound++;
    this.#outboundControl++;
  }

  /** The socket has taken everything. */
  onFlushed(): void {
    this.#outbound = 0;
    this.#outboundControl = 0;
  }

  /** So many frames since the socket was last known to have taken all that a look is due. */
  get outboundFull(): boolean {
    const { maxOutboundControlFrames, maxOutboundFrames } = this.#options;
    return this.#outboundControl > maxOutboundControlFrames || this.#outbound > maxOutboundFrames;
  }

  /** Asked when `outboundFull` and the socket has not taken `waiting` bytes. */
  outboundFlood(waiting: number): Violation | undefined {
    if (this.#outboundControl > this.#options.maxOutboundControlFrames) return violations.outboundControl;
    // Bodies are held back before: what waits by the frame is headers.
    return waiting >= this.#options.maxOutboundFrames * frameHeaderBytes
      ? violations.outboundFrames
      : undefined;
  }

  /** RST_STREAM came. @param now milliseconds. */
  onReset(now: number): Violation | undefined {
    const { streamResetBurst: burst, streamResetRate: rate } = this.#options;
    if (burst === 0) return undefined;
    this.#resetTokens = Math.min(burst, this.#resetTokens + ((now - this.#resetTime) * rate) / 1000);
    this.#resetTime = now;
    if (this.#resetTokens < 1) return violations.resetRate;
    this.#resetTokens--;
    return undefined;
  }

  /** A request ended. @param early reset by the client within the shortest lifetime. */
  onRequestEnd(early: boolean): Violation | undefined {
    this.#ended++;
    if (!early) return undefined;
    this.#early++;
    const limit = this.#options.prematureResetTotalStreamCount;
    if (limit === 0) return undefined;
    // As Envoy: before the limit, when the rest cannot bring the share below a half; after it, by the share itself.
    if (this.#ended < limit) return this.#early * 2 >= limit ? violations.rapidReset : undefined;
    return this.#early * 2 >= this.#ended ? violations.rapidReset : undefined;
  }
}
